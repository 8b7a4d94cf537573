"""Which notices a run posts, over a real queue, with a clock that the test sets; and what a run with ``--notify`` does as a process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubesweep.api.loading.files import Loaded
from kubesweep.queue.model import FailedRow, Job, JobKind, Settlement, SweepState, Window
from kubesweep_cli.runner.notices import Notice, Notices
from kubesweep_cli.runner.runner import Runner, RunSettings
from kubesweep_cli.runner.worker_group import WorkerGroup
from tests.integration.command_line import CommandLine
from tests.integration.receivers import receiver
from tests.integration.test_cli_runner import RunnerKit


class Outbox:
    """A sender that delivers at once, or never."""

    def __init__(self) -> None:
        self.sent: list[Notice] = []
        self.reachable = True

    def send(self, notice: Notice, delivered: Callable[[], None]) -> None:
        self.sent.append(notice)
        if self.reachable:
            delivered()

    async def drain(self) -> None:
        return None

    def taken(self) -> list[tuple[str, tuple[str, ...]]]:
        """State and reasons of what was sent since the last call."""
        taken = [(str(each.state), each.reasons) for each in self.sent]
        self.sent.clear()
        return taken


class Kit(RunnerKit):
    """One schedule, what a worker does to its sweeps, and runs that post notices."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.outbox = Outbox()
        self.loaded: list[Loaded] = self.schedule("carts", "startingDeadlineSeconds: 10")
        self.run = self.start()

    def start(self) -> Runner:
        """Another run, which remembers nothing but what the queue has."""
        notices = Notices(self.queue, self.outbox, " --queue Q")
        return Runner(self.loaded, self.queue, WorkerGroup([]), self.screen, RunSettings(), self.time, notices=notices)

    async def step(self, seconds: float = 1.0) -> list[tuple[str, tuple[str, ...]]]:
        self.time.now += seconds
        await self.run.step()
        return self.outbox.taken()

    async def sweep(self, *, dead: int = 0, state: SweepState | None = None, reason: str = "") -> None:
        """The next tick, and a sweep whose rows die, or that its plan job ends."""
        self.time.now = self.time.now // 60 * 60 + 60
        await self.run.step()
        plan = self.loaded[0].plan
        (claim,) = (await self.queue.claim(plan.ref, "w", 1, plan.queue_limits)).jobs
        if state is not None:
            message = 'relation "shop".secret_table does not exist'
            assert await self.queue.end_sweep(plan.ref, claim, state, reason, message)
            return
        job = Job(JobKind.RANGE, plan.version, claim.job.sweep, "x", low=("0",), high=("9",), rows=dead)
        jobs = (job,) if dead else ()
        assert await self.queue.advance(plan.ref, claim, Window("x", jobs, planned=dead))
        if dead:
            (claim,) = (await self.queue.claim(plan.ref, "w", 1, plan.queue_limits)).jobs
            rows = tuple(FailedRow((f"key-{number}",), "Refused", "ann@example.com") for number in range(dead))
            await self.queue.settle(plan.ref, "w", [Settlement(claim, dead=rows)], 0, plan.queue_limits)


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    made = Kit(tmp_path)
    await made.step()
    yield made
    await made.queue.close()


async def test_a_healthy_schedule_posts_nothing(kit: Kit) -> None:
    for _ in range(3):
        await kit.sweep()
        assert await kit.step() == []


async def test_dead_letters_are_announced_once_until_none_is_left(kit: Kit) -> None:
    await kit.sweep(dead=2)
    kit.time.now += 1
    await kit.run.step()
    (notice,) = kit.outbox.sent
    assert (notice.state, notice.reasons, notice.dead, notice.schedule) == ("Degraded", ("DeadLetters",), 2, "carts")
    assert "2 rows are dead letters. To list them: " in notice.text
    assert "dead list carts --queue Q." in notice.text
    assert notice.sweep is not None
    assert (notice.sweep["state"], notice.sweep["planned"], notice.sweep["dead"]) == ("Completed", 2, 2)
    assert not any(word in str(notice) for word in ("key-0", "ann@example.com", "Refused"))
    kit.outbox.taken()
    assert await kit.step() == []
    await kit.sweep(dead=1)
    assert await kit.step() == [], "more of what was announced"
    await kit.queue.replay(kit.loaded[0].ref)
    assert await kit.step() == [], "they are being retried"
    await kit.queue.purge(kit.loaded[0].ref)
    assert await kit.step() == [("Recovered", ("DeadLetters",))]
    assert await kit.step() == []


async def test_a_failed_sweep_is_announced_with_its_code_and_without_its_message(kit: Kit) -> None:
    await kit.sweep(state=SweepState.FAILED, reason="TableMissing")
    kit.time.now += 1
    await kit.run.step()
    (notice,) = kit.outbox.sent
    assert (notice.state, notice.reasons) == ("Degraded", ("LastSweepFailed",))
    assert "failed (TableMissing)" in notice.text
    assert "secret_table" not in str(notice)
    kit.outbox.taken()
    await kit.sweep(state=SweepState.FAILED, reason="ColumnMissing")
    assert await kit.step() == [], "still failing"
    await kit.sweep()
    assert await kit.step() == [("Recovered", ("LastSweepFailed",))]
    await kit.sweep(state=SweepState.FAILED, reason="TableMissing")
    assert await kit.step() == [("Degraded", ("LastSweepFailed",))]


async def test_a_further_problem_is_another_notice_with_all_that_holds(kit: Kit) -> None:
    await kit.sweep(dead=1)
    assert await kit.step() == [("Degraded", ("DeadLetters",))]
    await kit.sweep(state=SweepState.FAILED, reason="TableMissing")
    assert await kit.step() == [("Degraded", ("LastSweepFailed", "DeadLetters"))]
    await kit.sweep()
    assert await kit.step() == [], "one is over, the other holds"
    await kit.sweep(state=SweepState.FAILED, reason="TableMissing")
    assert await kit.step() == [("Degraded", ("LastSweepFailed", "DeadLetters"))]


async def test_a_sweep_that_awaits_approval_is_announced_with_the_command(kit: Kit) -> None:
    await kit.sweep(state=SweepState.AWAITING_APPROVAL, reason="AboveApprovalLimit")
    kit.time.now += 1
    await kit.run.step()
    (notice,) = kit.outbox.sent
    assert (notice.state, notice.reasons) == ("AwaitingApproval", ("AwaitingApproval",))
    assert "awaits approval (AboveApprovalLimit). To approve it: " in notice.text
    assert "approve carts --queue Q." in notice.text
    kit.outbox.taken()
    await kit.queue.approve(kit.loaded[0].ref)
    assert await kit.step() == [("Recovered", ("AwaitingApproval",))]


async def test_a_lost_sweep_is_over_when_one_completed(kit: Kit) -> None:
    kit.time.now = 1080.0
    await kit.run.step()
    await kit.queue.forget(kit.loaded[0].ref)
    assert await kit.step() == [("Degraded", ("Lost",))]
    assert await kit.step() == []
    kit.run = kit.start()
    assert await kit.step() == [], "the next run continues there"
    await kit.finish(kit.loaded)
    assert await kit.step() == [("Recovered", ("Lost",))]


async def test_a_missed_tick_is_over_when_a_later_sweep_completed(kit: Kit) -> None:
    await kit.sweep()
    assert await kit.step(75) == [("Degraded", ("MissedSchedule",))]
    kit.run = kit.start()
    assert await kit.step() == []
    await kit.sweep()
    assert await kit.step() == [("Recovered", ("MissedSchedule",))]


async def test_the_next_run_repeats_only_what_was_not_delivered(kit: Kit) -> None:
    await kit.sweep(dead=1)
    assert await kit.step() == [("Degraded", ("DeadLetters",))]
    await kit.step()
    kit.run = kit.start()
    assert await kit.step() == []
    kit.outbox.reachable = False
    await kit.sweep(state=SweepState.FAILED, reason="TableMissing")
    assert await kit.step() == [("Degraded", ("LastSweepFailed", "DeadLetters"))]
    assert await kit.step() == [], "this run has tried"
    kit.run = kit.start()
    assert await kit.step() == [("Degraded", ("LastSweepFailed", "DeadLetters"))]
    await kit.queue.purge(kit.loaded[0].ref)
    kit.outbox.reachable = True
    await kit.sweep()
    assert await kit.step() == [("Recovered", ("LastSweepFailed",))]


REFUSING = """
from kubesweep_worker.handlers import Reject

def refuse(row, ctx):
    raise Reject(f"{row['email']} is refused")
"""
SCHEDULE = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: people, namespace: shop}
spec:
  schedule: "@yearly"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: people}
  match: [{column: state, in: [old]}]
  effect: {handler: "refusing:refuse", columns: [email]}
  write: {update: [{column: state, value: new}]}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {url: "sqlite:///@FOLDER@/people.db"}
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """A schedule whose three rows are all refused by its handler."""
    with closing(sqlite3.connect(tmp_path / "people.db")) as db:
        db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, state TEXT)")
        db.executemany("INSERT INTO people VALUES (?, 'ann@example.com', 'old')", [(number,) for number in range(3)])
        db.commit()
    (tmp_path / "refusing.py").write_text(REFUSING)
    (tmp_path / "people.yaml").write_text(SCHEDULE.replace("@FOLDER@", str(tmp_path)))
    return CommandLine(tmp_path)


async def test_runs_of_a_process_announce_a_state_once(cli: CommandLine) -> None:
    bodies: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(json.loads(await request.text()))
        return web.Response()

    async with receiver(answer) as url:
        environ = {"KUBESWEEP_NOTIFY": f"{url}/hook?token=hunter2"}
        for code in (1, 0):  # the second sweep leaves the dead letters alone
            ran = await asyncio.to_thread(cli.run, "run", "--once", "-f", "people.yaml", code=code, **environ)
            assert "hunter2" not in ran.stdout + ran.stderr
        await asyncio.to_thread(cli.run, "dead", "purge", "people", "-n", "shop", "--yes")
        with closing(sqlite3.connect(cli.folder / "people.db")) as db:
            db.execute("DELETE FROM people")
            db.commit()
        slack = f"slack:{url}/slack"
        await asyncio.to_thread(cli.run, "run", "--once", "-f", "people.yaml", "--notify", slack)
    degraded, recovered = bodies
    assert (degraded["namespace"], degraded["schedule"], degraded["dead"]) == ("shop", "people", 3)
    assert (degraded["state"], degraded["reasons"]) == ("Degraded", ["DeadLetters"])
    assert "ann@example.com" not in json.dumps(bodies)
    assert recovered == {"text": "shop/people: Recovered. DeadLetters is over."}


async def test_a_receiver_that_refuses_changes_nothing_else(cli: CommandLine) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403)

    async with receiver(refuse) as url:
        words = ("run", "--once", "-f", "people.yaml", "--notify", f"{url}/hunter2")
        ran = await asyncio.to_thread(cli.run, *words, code=1)
    assert ran.stderr.count("a notice was not delivered: it answered 403") == 1
    assert "hunter2" not in ran.stdout + ran.stderr + (cli.folder / "state/kubesweep/kubesweep.log").read_text()
    assert "3 planned = 0 applied" in ran.stdout
