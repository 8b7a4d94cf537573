"""Check jobs, and findings while the database is unavailable."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Finding, ScheduleRef, SweepState
from tests.kits.overheard import Overheard
from tests.kits.worker import ScriptedEffect, Workbench, key, with_effect


async def test_a_check_job_reports_the_state_of_the_source(bench: Workbench) -> None:
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    stats = await bench.sweep()
    found = {f.kind: f for f in stats.findings}
    assert (found["SourceReady"].ok, found["SourceReady"].reason) == (True, "Checked")


async def test_a_check_ends_only_when_the_queue_has_its_findings(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue hands out one check of a plan, so findings that are lost would never be reported again."""
    bench.plan = with_effect(bench.plan)
    bench.effect = ScriptedEffect()
    report, unanswered = Overheard.report, ["SourceReady", "SourceWarnings", "Effect"]

    async def unreliable(queue: Overheard, ref: ScheduleRef, finding: Finding) -> None:
        if finding.kind in unanswered:
            unanswered.remove(finding.kind)
            raise Outage("QueueTimeout", "the server did not answer in time")
        await report(queue, ref, finding)

    monkeypatch.setattr(Overheard, "report", unreliable)
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    stats = await bench.sweep()
    assert {finding.kind for finding in stats.findings} >= {"SourceReady", "SourceWarnings", "Effect"}
    assert unanswered == []


async def test_a_check_stays_until_the_table_is_there_and_no_probe_says_otherwise(bench: Workbench) -> None:
    clock = Clock()
    bench.settings = with_clock(bench.settings, clock)
    asked = []

    def down(call: str) -> None:
        asked.append(call)
        if call == "inspect" and clock.now < 601.0:
            raise SweepFailure("TableMissing", "no such table")

    bench.source.down = down
    worker = bench.worker()
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    running = asyncio.create_task(worker.run())
    while (stats := (await bench.queue.stats([bench.plan.ref]))[0]).ready + stats.running:
        await bench.queue.wait(bench.plan.ref, 0.01)
    worker.stop()
    await running
    inspected = asked.count("inspect")
    assert [each for each in bench.said if each[0] == "SourceReady"] == [
        *[("SourceReady", False, "TableMissing")] * (inspected - 1),
        ("SourceReady", True, "Checked"),
    ]
    assert asked.count("probe") == inspected - 1
    assert 20 < inspected < 60


async def test_a_check_that_fails_unexpectedly_says_so(bench: Workbench) -> None:
    """Without a report the schedule would seem to wait for its first worker."""

    def down(call: str) -> None:
        if call == "inspect":
            raise ZeroDivisionError

    bench.source.down = down
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    await bench.sweep()
    assert ("SourceReady", False, "WorkerDefect") in bench.said


async def test_a_check_corrects_the_report_of_a_worker_that_died(bench: Workbench) -> None:
    bench.plan = with_effect(bench.plan)
    bench.effect = ScriptedEffect()
    running = asyncio.create_task((worker := bench.worker()).run())
    ref, version = bench.plan.ref, bench.plan.version

    async def checked() -> None:
        while (stats := (await bench.queue.stats([ref]))[0]).ready + stats.running:
            await bench.queue.wait(ref, 0.01)

    await bench.queue.enqueue_check(ref, version)
    await checked()
    for kind in ("SourceReady", "SourceWarnings", "Effect"):
        await bench.queue.report(ref, Finding(kind, False, "Unreachable", "a blip", version, at=time.time()))
    await bench.queue.enqueue_check(ref, version)
    await checked()
    worker.stop()
    await running
    (stats,) = await bench.queue.stats([ref])
    assert {finding.kind: finding.ok for finding in stats.findings} == {
        "SourceReady": True,
        "SourceWarnings": True,
        "Effect": True,
    }


async def test_a_database_that_cannot_be_reached_is_no_problem_of_the_effect(bench: Workbench) -> None:
    """A receiver is Unreachable too; a plan without an effect would never take that word back."""
    asked = []

    def down(call: str) -> None:
        asked.append(call)
        if len(asked) < 3:
            raise Outage("Unreachable", "connection refused")

    bench.source.down = down
    await bench.queue.enqueue_check(bench.plan.ref, bench.plan.version)
    stats = await bench.sweep()
    assert {finding.kind: finding.ok for finding in stats.findings} == {"SourceReady": True, "SourceWarnings": True}


async def test_ten_minutes_without_the_database_spend_no_attempt(bench: Workbench, tmp_path: Path) -> None:
    clock = Clock()
    bench.settings = with_clock(bench.settings, clock)
    bench.source.poison = {key(5)}

    def down(call: str) -> None:
        if 1.0 < clock.now < 601.0:
            clock.asked += 1
            raise Outage("ConnectionLost", "server closed the connection", maybe_applied=call == "write")

    bench.source.down = down
    clock.now = 2.0
    stats = await bench.sweep()
    assert clock.now > 601.0
    assert clock.asked < 100
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.retrying) == (SweepState.COMPLETED, 999, 1)
    assert await bench.dead() == ()
    found = {f.kind: f for f in stats.findings}
    assert found["SourceReady"].ok


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def with_clock(settings: Any, clock: Clock) -> Any:
    return dataclasses.replace(
        settings, backoff=0.5, max_backoff=30.0, deadline=1e9, monotonic=lambda: clock.now, sleep=clock.sleep
    )
