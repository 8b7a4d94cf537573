"""``kubesweep suspend``: stored in the queue, followed by `run` and `worker`, and ended by `resume`."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Pace, PlanVersion, ScheduleRef
from kubesweep.queue.service import QueueService
from kubesweep_cli.runner.clock import Clock
from kubesweep_cli.shell import suspending
from kubesweep_cli.shell.throttling import set_throttle
from tests.integration.command_line import CommandLine, next_commands, read_until
from tests.kits.deadlines import scaled

REF = ScheduleRef.local("default", "slow")


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
async def queue(cli: CommandLine) -> AsyncIterator[QueueService]:
    made = connect(f"sqlite:///{cli.folder}/state/kubesweep/queue.db")
    await made.enqueue_check(REF, PlanVersion(1, "aaaa"))
    yield made
    await made.close()


def test_a_suspended_schedule_is_neither_run_nor_triggered_until_it_is_resumed(cli: CommandLine) -> None:
    file = cli.slow(4)
    cli.run("trigger", "-f", file)
    suspended = cli.run("suspend", "slow").stdout
    assert suspended.startswith("slow: suspended: no tick runs and no row is started; rows in progress end.")
    (cli.folder / "go").touch()
    again = cli.run("run", "--once", file)
    assert "slow: suspended (`kubesweep resume slow` ends it), so it is not swept." in again.stderr
    assert cli.states() == {"old": 4}
    refused = cli.run("trigger", "slow", code=1).stdout
    assert "not started: the schedule is suspended" in refused
    (command,) = next_commands(refused)
    assert "kubesweep resume slow" in command
    status = cli.run("status")
    assert "suspended" in status.stdout
    assert "kubesweep resume slow" in next_commands(status.stdout)
    (one,) = json.loads(cli.run("status", "-o", "json").stdout)
    assert (one["suspended"], one["paused"]) == (True, True)
    assert "it is suspended already" in cli.run("suspend", "slow").stdout
    (resume,) = next_commands(suspended)
    assert cli.shell(resume).returncode == 0
    cli.run("run", "--once", file)
    assert cli.states() == {"new": 4}
    assert cli.run("resume", "slow").stdout.startswith("slow: it is not suspended.")


def test_the_printed_commands_name_the_namespace_where_two_have_the_name(cli: CommandLine) -> None:
    file = Path(cli.slow(1))
    cli.run("trigger", "-f", str(file))
    other = cli.folder / "other.yaml"
    other.write_text(
        file.read_text()
        .replace("{name: slow}", "{name: slow, namespace: other}")
        .replace("{name: db}\n", "{name: db, namespace: other}\n")
    )
    cli.run("trigger", "-f", str(other))
    suspended = cli.run("suspend", "-n", "default", "slow").stdout
    assert next_commands(cli.run("status").stdout)[0] in next_commands(suspended)
    for printed in (suspended, cli.run("throttle", "slow", "pause", "-n", "default").stdout):
        (command,) = next_commands(printed)
        assert cli.shell(command).returncode == 0


def test_a_running_worker_follows_within_seconds(cli: CommandLine) -> None:
    file = cli.slow(4)
    (cli.folder / "go").touch()
    cli.run("trigger", "-f", file)
    cli.run("suspend", "slow")
    worker = cli.start("worker", file)
    read_until(worker.stdout, "suspended in the queue")
    assert cli.states() == {"old": 4}
    cli.run("resume", "slow")
    read_until(worker.stdout, "Completed")
    worker.send_signal(signal.SIGTERM)
    _, errors = worker.communicate(timeout=scaled(60))
    assert (worker.returncode, cli.states()) == (0, {"new": 4}), errors


async def test_a_throttle_and_a_suspension_do_not_end_each_other(queue: QueueService) -> None:
    await queue.set_pace(REF, Pace.of(40.0))
    await suspending.set_suspended(queue, REF, True)
    await set_throttle(queue, REF, "reset")
    (stats,) = await queue.stats([REF])
    assert (stats.paused, suspending.suspended(stats)) == (True, True)
    await set_throttle(queue, REF, "pause")
    assert await suspending.set_suspended(queue, REF, False)
    (stats,) = await queue.stats([REF])
    assert (stats.paused, suspending.suspended(stats)) == (True, False)
    await set_throttle(queue, REF, "reset")
    assert not (await queue.stats([REF]))[0].paused
    assert not await suspending.set_suspended(queue, REF, False)


async def test_ticks_that_passed_while_it_was_suspended_never_run(queue: QueueService) -> None:
    from kubesweep.ticks import Every

    clock = Clock(Every(60.0), started=1000.0)
    assert clock.due(1030.0, None) == 1020.0
    clock.answered(1020.0)
    # Suspended from 1040 on, and resumed at 1290.
    assert clock.due(1300.0, 1020.0, since=1290.0) is None
    assert clock.due(1320.0, 1020.0, since=1290.0) == 1320.0
    await suspending.set_suspended(queue, REF, True)
    (stats,) = await queue.stats([REF])
    assert suspending.changed_at(stats) > 1_700_000_000


async def test_a_schedule_of_a_cluster_is_suspended_by_its_spec(cli: CommandLine, queue: QueueService) -> None:
    await queue.enqueue_check(ScheduleRef("inst0001", "shop", "young", "8b5f6f0e"), PlanVersion(1, "aaaa"))
    printed = cli.run("suspend", "young", code=2).stderr
    assert 'kubectl patch sweepschedule young -n shop --type merge -p \'{"spec":{"suspend":true}}\'' in printed
    assert '"suspend":false' in cli.run("resume", "young", code=2).stderr
