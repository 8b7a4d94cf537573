"""The soak's judgement: what it counts as a loss, a repetition or a leak. The soak itself runs on the test bed (tests/e2e/test_soak.py)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kubesweep.queue.model import PlanVersion, Stats, Sweep, SweepState
from tests.soak import clocks
from tests.soak.databases import Rows
from tests.soak.lanes import QUICK, TABLES, Lane
from tests.soak.observer import Logs, Seen
from tests.soak.verdict import levels, memory_growth, row_problems, sweep_problems, unfinished

GOOD = Rows(inserted=100, open=0, defect=2, writes=98, written=98)


def sweep(**counts: int) -> Sweep:
    return Sweep(id="a", tick=1.0, plan=PlanVersion(1, "h"), state=SweepState.COMPLETED, **counts)  # type: ignore[arg-type]


def test_rows_must_be_written_once_and_all_of_them() -> None:
    assert list(row_problems({0: GOOD})) == []
    lost = Rows(inserted=100, open=1, defect=2, writes=97, written=97)
    twice = Rows(inserted=100, open=0, defect=2, writes=99, written=98)
    assert [list(row_problems({0: each})) != [] for each in (lost, twice)] == [True, True]


def test_the_queue_must_have_the_dead_letters_and_nothing_else() -> None:
    for stats, right in (
        (Stats(dead=2, excluded=2), True),
        (Stats(dead=2, excluded=2, checks=1, ready=1), True),
        (Stats(dead=2, excluded=2, running=1), False),
        (Stats(dead=2, excluded=2, ready=1), False),
        (Stats(dead=2, excluded=3), False),
        (Stats(dead=1, excluded=1), False),
    ):
        seen = Seen()
        seen.stats[0] = stats
        assert (list(unfinished({0: GOOD}, seen)) == []) is right, stats


@pytest.mark.parametrize(
    ("sweeps", "right"),
    [
        ([sweep(planned=60, applied=60), sweep(planned=40, applied=38, dead=2)], True),
        ([sweep(planned=60, applied=50, unconfirmed=10), sweep(planned=40, applied=38, dead=2)], True),
        ([sweep(planned=100, applied=97, dead=2)], False),  # not balanced
        ([sweep(planned=101, applied=99, dead=2)], False),  # more than were written
        ([sweep(planned=99, applied=97, dead=2)], False),  # fewer
        ([sweep(planned=98, applied=98)], False),  # no dead letters
        ([sweep(planned=100, applied=98, dead=1, retrying=1)], False),
    ],
)
def test_sweeps_account_for_each_row(sweeps: list[Sweep], right: bool) -> None:
    assert (list(sweep_problems(0, GOOD, sweeps)) == []) is right


def test_memory_may_not_grow_from_the_middle_third_to_the_last() -> None:
    seen, mebibyte = Seen(), 1 << 20
    seen.memory["a/controller"] = [(10, 300 * mebibyte), (40, 80 * mebibyte), (70, 100 * mebibyte)]
    seen.memory["a/postgres"] = [(40, 10 * mebibyte), (70, 900 * mebibyte)]  # not measured
    assert levels(seen, 90) == {"a/controller": (80 * mebibyte, 100 * mebibyte)}
    assert list(memory_growth(seen, 90)) == []
    seen.memory["a/controller"].append((80, 120 * mebibyte))
    assert list(memory_growth(seen, 90)) == ["a/controller: 120 MiB in the last third, 80 MiB in the middle one"]


def test_logs_are_read_once_and_also_after_their_pod_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "ns_pod_uid" / "worker"
    folder.mkdir(parents=True)
    file = folder / "0.log"
    file.write_text("fine\n")
    logs = Logs(tmp_path, ["ns"])
    assert logs.read() == []
    with file.open("a") as more:
        more.write("Traceback (most recent call last)\n")
        file.unlink()
    assert len(logs.read()) == 1
    file.write_text("a new file: Traceback (most recent call last)\n")
    assert len(logs.read()) == 1
    assert logs.read() == []
    logs.close()


def test_quick_lanes_cover_each_release_database_and_table() -> None:
    found = {(each.release, each.database, each.table) for each in (Lane(number, 50) for number in range(QUICK))}
    assert found == {(release, database, table) for release in (0, 1) for database in (0, 1) for table in TABLES}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_preloaded_clock_is_shifted_while_the_program_runs(tmp_path: Path) -> None:
    library, offset = tmp_path / "clock.so", tmp_path / "offset"
    library.write_bytes(base64.b64decode(clocks.config_map()["binaryData"]["clock.so"]))
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "def shifted(seconds):\n"
        "    before, started = time.time(), time.monotonic()\n"
        "    Path(sys.argv[1]).write_text(str(seconds))\n"
        "    while abs(time.time() - before - seconds) > 30: assert time.monotonic() - started < 60\n"
        "    Path(sys.argv[1]).write_text('0')\n"
        "    while abs(time.time() - before) > 30: assert time.monotonic() - started < 60\n"
        "shifted(120)\n"
        "shifted(-120)\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}
    subprocess.run([sys.executable, "-c", program, str(offset)], env=environment, check=True)
