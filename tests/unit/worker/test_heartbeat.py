"""The heartbeat extends leases, and ends a process whose job hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from kubesweep.errors import LeaseLost, Outage
from kubesweep.queue.model import Claim, Job, JobKind, Pace
from kubesweep_worker.in_flight import InFlightJobs, JobRun
from kubesweep_worker.runtime.heartbeat import Heartbeat
from kubesweep_worker.settings import EXIT_DEADLINE, WorkerSettings
from tests.kits.deadlines import scaled
from tests.kits.worker import a_plan


class Beats:
    """A queue that only supports heartbeats."""

    def __init__(self) -> None:
        self.extended: list[tuple[str, ...]] = []
        self.lost: tuple[str, ...] = ()
        self.current: Pace | Outage = Pace.of(5.0)

    async def close(self) -> None:
        return None

    async def extend(self, ref: object, claims: Sequence[Claim], lease: float) -> tuple[str, ...]:
        self.extended.append(tuple(claim.id for claim in claims))
        return self.lost

    async def pace(self, ref: object) -> Pace:
        if isinstance(self.current, Outage):
            raise self.current
        return self.current


async def test_the_heartbeat_extends_its_in_flight_jobs_and_marks_what_is_lost() -> None:
    in_flight, beats, now = InFlightJobs(), Beats(), [0.0]
    settings = WorkerSettings(monotonic=lambda: now[0])
    runs = [JobRun(Claim(str(i), "me", 1, Job(JobKind.RANGE)), settings.monotonic) for i in range(3)]
    for run in runs:
        in_flight.add(run)
    beats.lost = ("1",)
    heartbeat = Heartbeat(a_plan().ref, in_flight, settings, lambda: beats)  # type: ignore[arg-type,return-value]
    await heartbeat.beat(beats)  # type: ignore[arg-type]
    assert beats.extended == [("0", "1", "2")]
    assert [run.lost for run in runs] == [False, True, False]
    now[0] = 299.0
    runs[2].touch()
    runs[0].finished = True
    now[0] = 300.0
    await heartbeat.beat(beats)  # type: ignore[arg-type]
    assert beats.extended[-1] == ("0", "1", "2")
    now[0] = 301.0
    await heartbeat.beat(beats)  # type: ignore[arg-type]
    assert beats.extended[-1] == ("0", "2")  # 1 made no progress for longer than the deadline


async def test_a_job_past_its_deadline_ends_the_process() -> None:
    died, codes, in_flight = threading.Event(), [], InFlightJobs()

    def die(code: int) -> None:
        codes.append(code)
        died.set()

    settings = WorkerSettings(lease=0.03, deadline=0.05, exit_process=die)
    in_flight.add(JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), settings.monotonic))
    heartbeat = Heartbeat(a_plan().ref, in_flight, settings, Beats)  # type: ignore[arg-type]
    heartbeat.start()
    assert await asyncio.to_thread(died.wait, scaled(60))
    in_flight.remove("1")
    await heartbeat.close()
    assert codes[0] == EXIT_DEADLINE


async def test_it_reads_the_pace_while_jobs_run_and_extends_leases_where_that_fails() -> None:
    in_flight, beats, seen = InFlightJobs(), Beats(), list[Pace | None]()
    settings = WorkerSettings(lease=0.03)
    read, extended = asyncio.Event(), threading.Event()

    def on_pace(pace: Pace | None) -> None:
        seen.append(pace)
        read.set()

    heartbeat = Heartbeat(a_plan().ref, in_flight, settings, lambda: beats, on_pace)  # type: ignore[arg-type,return-value]
    await heartbeat.read_pace(beats)  # type: ignore[arg-type]
    in_flight.add(JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), settings.monotonic))
    heartbeat.start()
    async with asyncio.timeout(scaled(60)):
        await read.wait()
    assert seen[0] == Pace.of(5.0)

    async def extend(*_: object) -> tuple[str, ...]:
        extended.set()
        return ()

    beats.current = Outage("QueueRights", "no permission")
    beats.extend = extend  # type: ignore[assignment]
    assert await asyncio.to_thread(extended.wait, scaled(60))
    in_flight.remove("1")
    await heartbeat.close()


def test_a_finished_job_stays_in_flight_until_it_is_settled() -> None:
    in_flight = InFlightJobs()
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), lambda: 0.0)
    in_flight.add(run)
    assert in_flight.running() == (run,)
    run.finished = True
    assert (in_flight.running(), in_flight.all()) == ((), (run,))
    in_flight.remove("1")
    in_flight.mark_lost("1")
    assert in_flight.all() == ()
    assert not run.lost


def test_a_checkpoint_is_progress_unless_the_job_is_lost() -> None:
    now = [0.0]
    run = JobRun(Claim("1", "me", 1, Job(JobKind.RANGE)), lambda: now[0])
    now[0] = 5.0
    run.checkpoint()
    assert run.last_progress == 5.0
    run.lost = True
    now[0] = 9.0
    with pytest.raises(LeaseLost):
        run.checkpoint()
    assert run.last_progress == 5.0
