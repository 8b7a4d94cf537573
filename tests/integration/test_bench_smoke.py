"""bench/sweep.py runs end to end and reports every figure of RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from bench import growth, servers, shapes, sweep
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_measures_every_contestant_and_counts_pages(tmp_path: Path) -> None:
    figures, printed = smoke_run("sweep", tmp_path)
    kubesweep = sweep.kubesweep_label(2, 2)
    competitors = {sweep.STATEMENT, kubesweep, sweep.LOOP, sweep.STATEMENT + sweep.SNAPSHOT, kubesweep + sweep.SNAPSHOT}
    assert [set(one["rates"]) for one in figures["contests"]] == [competitors] * len(sweep.SMOKE.stale)
    assert all(rate > 0 for one in figures["contests"] for rates in one["rates"].values() for rate in rates)
    few, more = figures["pages"]
    assert 0 < few["heap"] < more["heap"]
    assert kubesweep in printed


def test_command_line_options_change_the_smoke_run() -> None:
    options, file = sweep.parse(["--smoke", "--rows", "500", "--stale", "0.1", "--json", "out.json"])
    assert (options.rows, options.stale, options.rounds, file) == (500, (0.1,), sweep.SMOKE.rounds, Path("out.json"))


def test_every_shape_is_swept_and_written_by_its_statement() -> None:
    lines = shapes.measure(shapes.SMOKE).splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [shape.name for shape in shapes.SHAPES]


def test_a_growing_table_is_swept_at_each_size_with_each_number_of_stale_rows() -> None:
    with servers.postgres() as server:
        found = list(growth.measure(server, (20_000, 40_000), (100, 1_000)))
    assert [(rows, pages.stale) for rows, pages in found] == [
        (20_000, 100),
        (20_000, 1_000),
        (40_000, 100),
        (40_000, 1_000),
    ]
    assert found[3][1].table_pages > found[1][1].table_pages
    assert all(pages.memory > 2**20 for _, pages in found)
