"""bench/queue.py runs end to end without peers and reports every figure of RESULTS.md."""

from __future__ import annotations

import json
from pathlib import Path

from bench import queue
from bench.queue_competitors import PEERS, PINS
from tests.kits.benchmarks import smoke_run


def test_a_smoke_run_measures_every_figure(tmp_path: Path) -> None:
    report, printed = smoke_run("queue", tmp_path)
    (name, figures), *rest = report["figures"].items()
    assert (name, rest) == ("kubesweep", [])
    assert len(figures.pop("picks")) == queue.SMOKE.picks
    assert all(len(found) == 1 and found[0] > 0 for found in figures.values())
    assert "| kubesweep |" in printed


def test_command_line_options_change_the_smoke_run() -> None:
    options, file, install = queue.parse(["--smoke", "--rounds", "2", "--picks", "7", "--json", "out.json"])
    assert (options.rounds, options.picks, options.jobs, options.peers) == (2, 7, queue.SMOKE.jobs, False)
    assert (file, install) == (Path("out.json"), False)


def test_every_pin_is_exact_and_names_no_registry() -> None:
    for name in PINS:
        text = (PEERS / name).read_text()
        assert "://" not in text
        if name.endswith(".txt"):
            packages = [line for line in text.splitlines() if line and not line.startswith(" ")]
            assert all("==" in line and line.endswith("\\") for line in packages)
            assert text.count("--hash=sha256:") >= len(packages)
        else:
            wanted = json.loads(text)
            versions = {**wanted["dependencies"], **wanted["overrides"]}
            assert all(version.replace(".", "").isdecimal() for version in versions.values())
