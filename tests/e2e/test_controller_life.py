"""The controller as a process against a real API server: deletions, leaders, outages, logins and tokens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from kubesweep.queue.model import PlanVersion, SweepRequest
from kubesweep_controller.kube.client import DEPLOYMENTS, LEASES, SCHEDULES, KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from tests.e2e.rights import ACCOUNTS, account
from tests.e2e.stage import Stage, Wire, kubeconfig, until
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

PARKED = "autoscaling.keda.sh/paused-replicas"


async def test_a_deleted_schedule_leaves_nothing_in_the_queue_and_its_successor_starts_anew(stage: Stage) -> None:
    await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    old = await stage.ref()
    await stage.queue.open_sweep(old, SweepRequest(tick=1.0, plan=PlanVersion(1, "x")))
    await stage.api.delete(SCHEDULES, stage.namespace, "carts")
    await stage.apply()

    async def forgotten() -> bool:
        [stats] = await stage.queue.stats([old])
        return not stats.known

    await until(forgotten)
    await stage.says("Ready", "Checking")
    new = (await stage.ref()).uid
    assert new != old.uid

    async def its_own() -> bool:
        worker = await stage.child(DEPLOYMENTS, "worker")
        return bool(worker["metadata"]["ownerReferences"][0]["uid"] == new)

    await until(its_own)  # the garbage collector takes its time with the one before


async def test_a_schedule_that_is_deleted_while_no_controller_runs_is_forgotten_later(stage: Stage) -> None:
    first = await stage.start()
    await stage.apply()
    await stage.be_the_worker()
    old = await stage.ref()
    await stage.kill(first)
    await stage.api.delete(SCHEDULES, stage.namespace, "carts")

    async def gone() -> bool:
        return await stage.get(SCHEDULES, "carts") is None

    await until(gone)  # no finalizer keeps it
    await stage.start()

    async def forgotten() -> bool:
        [stats] = await stage.queue.stats([old])
        return not stats.known

    await until(forgotten)


async def test_of_two_controllers_the_other_takes_over_and_no_tick_is_missed_or_doubled(stage: Stage) -> None:
    first = await stage.start("a")
    await stage.apply(schedule=None, every="5s")

    async def ticked(number: int) -> int:
        counts = (await stage.stats()).ticks
        return counts.enqueued + counts.forbidden >= number and counts.duplicate == 0

    await until(lambda: ticked(1))
    await stage.start("b")
    before = (await stage.stats()).last_tick
    await stage.kill(first)
    await until(lambda: ticked(3))
    after = await stage.stats()
    assert before is not None
    assert after.last_tick is not None
    assert after.last_tick > before
    assert after.last_tick % 5 == 0


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: Stage) -> None:
    first = await stage.start("a")
    await stage.apply()
    await stage.says("Ready", "Checking")
    await stage.start("b")
    assert await stage.kill(first, signal.SIGTERM) == 0
    lease = await stage.get(LEASES, "kubesweep-controller")
    assert lease
    assert lease["spec"].get("holderIdentity") != "a"
    await stage.apply("second")
    await stage.says("Ready", "Checking", "second")


async def test_everything_goes_on_when_the_queue_comes_after_the_controller_and_loses_everything(
    stage: Stage, tmp_path: Path
) -> None:
    late = Server("valkey")
    await stage.start(KUBESWEEP_QUEUE=late.url)
    await stage.apply()
    await stage.child(DEPLOYMENTS, "worker")
    await stage.says("Ready", "QueueUnavailable")
    late.start()
    try:
        await stage.says("Ready", "Checking")
        with late.client() as client:
            assert client.keys("{ks:*")
            client.flushall()

            async def asked_again() -> bool:
                return bool(client.keys("{ks:*"))

            await until(asked_again)
    finally:
        late.remove()


async def test_a_queue_that_lets_nobody_make_users_is_said_and_heals(stage: Stage) -> None:
    with stage.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "&*", "+@all", "-acl")
        weak = stage.redis.url.replace("//", "//weak:weak@")
        await stage.start(KUBESWEEP_QUEUE=weak, KUBESWEEP_QUEUE_USERS="per-namespace")
        await stage.apply()
        await stage.says("Ready", "QueueUnavailable")
        assert "QueueRights" in await stage.message("Ready")
        client.execute_command("ACL", "SETUSER", "weak", "+acl")
        await stage.says("Ready", "Checking")
        made = f"ks-{(await stage.ref()).install}-{stage.namespace}"
        assert made in client.execute_command("ACL", "USERS")


async def test_the_api_server_may_be_away_for_a_minute(stage: Stage) -> None:
    wire = Wire(stage.at.server)
    await wire.mend()
    path = kubeconfig(stage, server=f"https://127.0.0.1:{wire.port}")
    process = await stage.start(restarts=False, KUBECONFIG=path)
    await stage.apply()
    await stage.says("Ready", "Checking")
    await wire.cut()
    assert await asyncio.wait_for(process.wait(), scaled(120)) == 1  # the Lease was lost; its pod would start it again
    await stage.apply("second")
    process = await stage.start(restarts=False, KUBECONFIG=path)
    await until(lambda: _in_log(stage, "cannot take the Lease"))
    await wire.mend()
    await stage.says("Ready", "Checking", "second")
    assert process.returncode is None
    await wire.cut()


async def _in_log(stage: Stage, text: str) -> bool:
    return text in stage.log()


async def test_a_token_may_be_replaced_and_what_watches_goes_on_with_the_new_one(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text((await account(stage.api, stage.namespace, "before", tmp_path)).read_text())
    wire = Wire(stage.at.server)
    await wire.mend()
    way = kubeconfig(stage, server=f"https://127.0.0.1:{wire.port}", token_file=str(file))
    process = await stage.start(restarts=False, KUBECONFIG=way)
    await stage.apply()
    await stage.says("Ready", "Checking")
    file.write_text((await account(stage.api, stage.namespace, "after", tmp_path)).read_text())
    await stage.api.delete(ACCOUNTS, stage.namespace, "before")
    await _until_refused(stage, tmp_path)
    await wire.cut()  # a watch that is open outlives its token
    await wire.mend()
    await stage.apply("second")
    await stage.says("Ready", "Checking", "second")
    assert "orbidden" not in stage.log()
    assert process.returncode is None
    await stage.kill(process)
    await wire.cut()


async def _until_refused(stage: Stage, folder: Path) -> None:
    """The API server remembers tokens for a few seconds."""
    old = KubeClient(Kubeconfig(stage.at.server, stage.at.ca, token_file=str(folder / "token-before")))

    async def refused() -> bool:
        try:
            await old.list(SCHEDULES, stage.namespace)
        except Exception as error:
            return "nauthorized" in str(error) or getattr(error, "reason", "") == "ApiUnauthorized"
        return False

    await until(refused)
    await old.close()
