"""Every row of the section "Worker" of docs/errors.md happens as it is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesweep.queue.model import Claim, Job, JobKind
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done
from kubesweep_worker.jobs.poison_job import give_up
from tests.integration.worker_error_cases import (
    CASES,
)
from tests.kits.worker import MemorySource, Workbench, key

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"


def documented() -> list[tuple[str, str, str]]:
    section = ERRORS.read_text().partition("\n## Worker\n")[2].partition("\n## ")[0]
    rows = [line.strip().strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in row) for row in rows if len(row) == 3]
    return [(a, b.strip("`"), c.strip("`").strip()) for a, b, c in cells if not a.startswith(("---", "input"))]


async def test_a_poison_range_that_grew_is_bisected_before_a_row_is_dead_lettered(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, MemorySource(2))
    context = bench.worker()._context
    await bench.open()
    job = Job(JobKind.RANGE, sweep="s", cutoff="now", rows=1, crashes=5)
    result = await give_up(context, JobRun(Claim("1", "me", 8, job), lambda: 0.0))
    await bench.queue.close()
    assert isinstance(result, Done)
    assert result.settlement.dead == ()
    assert [(part.keys, part.suspect) for part in result.settlement.jobs] == [((key(0),), True), ((key(1),), True)]


@pytest.mark.parametrize(("given", "code", "text"), documented(), ids=lambda value: value[:40])
async def test_a_documented_failure_has_the_documented_code_and_text(
    tmp_path: Path, given: str, code: str, text: str
) -> None:
    assert await CASES[given](tmp_path) == (code, text)


def test_every_case_is_documented() -> None:
    assert sorted(given for given, _, _ in documented()) == sorted(CASES)
