"""Status and Events of one schedule while the controller restarts after each of them.

The controllers are real processes on a real API server and a real queue. The test acts as the worker.
"""

from __future__ import annotations

import asyncio
import re
import signal
from functools import partial

import pytest

from kubesweep.queue.model import JobKind, SweepState
from kubesweep_controller.kube.client import EVENTS, SCHEDULES
from tests.kits.controller_environment import ControllerEnvironment
from tests.kits.deadlines import scaled
from tests.kits.polling import until
from tests.kits.schedule_driver import ScheduleDriver
from tests.kits.servers import Server


async def kubectl(env: ControllerEnvironment, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl", "-n", env.namespace, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.mark.slow
async def test_describe_shows_every_event_across_controller_restarts(env: ControllerEnvironment, redis: Server) -> None:
    driver = ScheduleDriver(env)
    await driver.make_ready()
    await drive_with_restarts(driver, redis)
    assert await driver.events() == [
        ("Normal", "Ready", 1),
        ("Normal", "Triggered", 3),
        ("Warning", "LastSweepFailed", 1),
        ("Warning", "AwaitingApproval", 1),
        ("Normal", "Approved", 1),
        ("Normal", "Completed", 2),
        ("Warning", "DeadLetters", 2),
        ("Normal", "DeadLettersRetried", 1),
        ("Normal", "Recovered", 2),
        ("Warning", "Lost", 1),
    ]
    page = await kubectl(env, "describe", "sweepschedule", "carts")
    for words in (
        'failed (ColumnMissing: there is no column "updated_at")',
        f"kubectl annotate sweepschedule carts -n {env.namespace} --overwrite kubesweep.dev/approve=$(date +%s)",
        "CheckViolation: rows used up their attempts (such as",
        "2 rows are being retried",
        "completed, 5 rows applied",
        ": 3 rows, 1 applied, 2 dead",
        "The queue lost the sweep of",
    ):
        assert words in page


async def drive_with_restarts(driver: ScheduleDriver, redis: Server) -> None:
    """A failed sweep, an approval, dead letters and a lost sweep, with another controller after each of them."""
    env = driver.env
    await driver.annotate("trigger")
    await driver.end_sweep(SweepState.FAILED, "ColumnMissing", 'there is no column "updated_at"')
    await env.until_reason("Degraded", "LastSweepFailed")
    await driver.restart_controller()
    await driver.annotate("trigger")
    await driver.end_sweep(SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", "too many")
    await env.until_reason("Degraded", "AwaitingApproval")
    await driver.restart_controller(signal.SIGKILL)
    await driver.annotate("approve")
    await driver.plan(3)
    await driver.settle(applied=1, dead={"7": "CheckViolation", "8": "CheckViolation"})
    await env.until_reason("Degraded", "DeadLetters")
    await driver.restart_controller()
    await driver.annotate("retry-dead-letters")
    await driver.settle(applied=2, kind=JobKind.KEYS)
    await env.until_reason("Degraded", "AsExpected")
    await driver.restart_controller()
    await driver.annotate("trigger")
    await driver.plan(5)
    await until(lambda: driver.sweep_is("Running"))
    with redis.client() as client:
        client.flushall()
    await env.until_reason("Degraded", "Lost")
    await driver.restart_controller()
    await driver.plan(5)
    await driver.settle(applied=5)
    await env.until_reason("Degraded", "AsExpected")


@pytest.mark.slow
async def test_dead_letters_are_counted_once_across_leader_changes(env: ControllerEnvironment) -> None:
    driver = ScheduleDriver(env)
    await driver.make_ready()

    async def immediately(dead: int) -> bool:
        return True

    async def event_posted(dead: int) -> bool:
        return ("Warning", "DeadLetters", dead) in await driver.events()

    async def status_written(dead: int) -> bool:
        return bool((await driver.status()).get("queue", {}).get("dead") == dead)

    moments = (immediately, event_posted, status_written)
    for number, moment in enumerate(moments):
        await driver.annotate("trigger")
        await driver.plan(1)
        await driver.settle(dead={str(number): "CheckViolation"})
        await until(partial(moment, number + 1))
        await driver.restart_controller(signal.SIGKILL)
    await until(partial(status_written, len(moments)))
    assert ("Warning", "DeadLetters", len(moments)) in await driver.events()
    objects = [each for each in await env.api.list(EVENTS, env.namespace) if each["reason"] == "DeadLetters"]
    assert len(objects) <= 2, "an object for each five minutes"
    assert await env.condition("Degraded") == ("True", "DeadLetters")


async def test_a_restarted_controller_writes_no_status_and_no_event(env: ControllerEnvironment) -> None:
    driver = ScheduleDriver(env)
    await driver.make_ready()
    await driver.annotate("trigger")
    await driver.plan(1)
    await driver.settle(dead={"1": "CheckViolation"})
    await env.until_reason("Degraded", "DeadLetters")
    await until(lambda: driver.sweep_is("Completed"))
    before, events = await env.get(SCHEDULES, "carts"), await driver.events()
    await driver.restart_controller()
    await driver.report_finding(False, "TableMissing", "there is no table")  # the first change after its start
    await env.until_reason("SourceReady", "TableMissing")
    after = await env.get(SCHEDULES, "carts")
    assert before
    assert after
    changed = {name for name, value in after["status"].items() if before["status"].get(name) != value}
    assert changed <= {"conditions", "readyCode", "countedTime", "queue", "oldestReadyTime"}
    assert await driver.events() == [*events, ("Warning", "SourceNotReady", 1)]


async def test_kubectl_wait_and_get_show_readiness(env: ControllerEnvironment) -> None:
    driver = ScheduleDriver(env)
    waiting = asyncio.create_task(_wait_ready(env, driver))
    await driver.make_ready()
    assert "condition met" in await waiting
    line = (await kubectl(env, "get", "sweeps", "--no-headers")).split()
    assert line[:1] + line[6:8] == ["carts", "false", "True"]
    await driver.annotate("trigger")
    await driver.plan(1)
    await until(lambda: driver.sweep_is("Running"))
    assert (await kubectl(env, "get", "sweeps", "--no-headers")).split()[8] == "Running"
    assert re.search(r"^carts ", await kubectl(env, "get", "sweep", "--no-headers"))


async def _wait_ready(env: ControllerEnvironment, driver: ScheduleDriver) -> str:
    await until(lambda: env.get(SCHEDULES, "carts"))
    return await kubectl(env, "wait", "--for=condition=Ready", "sweepschedule/carts", f"--timeout={scaled(90):.0f}s")
