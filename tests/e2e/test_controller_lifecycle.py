"""The controller as a process against a real API server: deletions, leader election, outages, queue users and tokens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from kubesweep.queue.model import PlanVersion, SweepRequest
from kubesweep_controller.kube.client import DEPLOYMENTS, LEASES, SCHEDULES, KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from tests.kits.api_server_proxy import ApiServerProxy
from tests.kits.controller_environment import ControllerEnvironment, kubeconfig
from tests.kits.deadlines import scaled
from tests.kits.polling import until
from tests.kits.rbac import ACCOUNTS, create_account
from tests.kits.servers import Server

PARKED = "autoscaling.keda.sh/paused-replicas"


async def test_a_deleted_schedule_leaves_nothing_in_the_queue_or_for_its_successor(
    env: ControllerEnvironment,
) -> None:
    await env.start_controller()
    await env.apply()
    await env.complete_check()
    old = await env.ref()
    await env.queue.open_sweep(old, SweepRequest(tick=1.0, plan=PlanVersion(1, "x")))
    await env.api.delete(SCHEDULES, env.namespace, "carts")
    await env.apply()

    async def cleaned_up() -> bool:
        [stats] = await env.queue.stats([old])
        return not stats.known

    await until(cleaned_up)
    await env.until_reason("Ready", "Checking")
    new = (await env.ref()).uid
    assert new != old.uid

    async def recreated() -> bool:
        worker = await env.child(DEPLOYMENTS, "worker")
        return bool(worker["metadata"]["ownerReferences"][0]["uid"] == new)

    await until(recreated)  # the garbage collector may delete the previous one late


async def test_a_schedule_deleted_without_a_controller_is_cleaned_up_later(
    env: ControllerEnvironment,
) -> None:
    first = await env.start_controller()
    await env.apply()
    await env.complete_check()
    old = await env.ref()
    await env.kill(first)
    await env.api.delete(SCHEDULES, env.namespace, "carts")

    async def gone() -> bool:
        return await env.get(SCHEDULES, "carts") is None

    await until(gone)  # no finalizer blocks it
    await env.start_controller()

    async def cleaned_up() -> bool:
        [stats] = await env.queue.stats([old])
        return not stats.known

    await until(cleaned_up)


async def test_a_second_controller_takes_over_without_missed_or_duplicate_ticks(
    env: ControllerEnvironment,
) -> None:
    first = await env.start_controller("a")
    await env.apply(schedule=None, every="5s")

    async def ticked(number: int) -> int:
        counts = (await env.stats()).ticks
        return counts.enqueued + counts.forbidden >= number and counts.duplicate == 0

    await until(lambda: ticked(1))
    await env.start_controller("b")
    before = (await env.stats()).last_tick
    await env.kill(first)
    await until(lambda: ticked(3))
    after = await env.stats()
    assert before is not None
    assert after.last_tick is not None
    assert after.last_tick > before
    assert after.last_tick % 5 == 0


async def test_a_stopped_leader_releases_its_lease(env: ControllerEnvironment) -> None:
    first = await env.start_controller("a")
    await env.apply()
    await env.until_reason("Ready", "Checking")
    await env.start_controller("b")
    assert await env.kill(first, signal.SIGTERM) == 0
    lease = await env.get(LEASES, "kubesweep-controller")
    assert lease
    assert lease["spec"].get("holderIdentity") != "a"
    await env.apply("second")
    await env.until_reason("Ready", "Checking", "second")


async def test_a_controller_survives_a_late_queue_that_loses_its_data(
    env: ControllerEnvironment, tmp_path: Path
) -> None:
    late = Server("valkey")
    await env.start_controller(KUBESWEEP_QUEUE=late.url)
    await env.apply()
    await env.child(DEPLOYMENTS, "worker")
    await env.until_reason("Ready", "QueueUnavailable")
    late.start()
    try:
        await env.until_reason("Ready", "Checking")
        with late.client() as client:
            assert client.keys("{ks:*")
            client.flushall()

            async def check_enqueued() -> bool:
                return bool(client.keys("{ks:*"))

            await until(check_enqueued)
    finally:
        late.remove()


async def test_missing_rights_to_create_queue_users_are_reported_until_granted(env: ControllerEnvironment) -> None:
    with env.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "&*", "+@all", "-acl")
        weak = env.redis.url.replace("//", "//weak:weak@")
        await env.start_controller(KUBESWEEP_QUEUE=weak, KUBESWEEP_QUEUE_USERS="per-namespace")
        await env.apply()
        await env.until_reason("Ready", "QueueUnavailable")
        assert "QueueRights" in await env.condition_message("Ready")
        client.execute_command("ACL", "SETUSER", "weak", "+acl")
        await env.until_reason("Ready", "Checking")
        made = f"ks-{(await env.ref()).install}-{env.namespace}"
        assert made in client.execute_command("ACL", "USERS")


async def test_the_api_server_may_be_unreachable_for_a_minute(env: ControllerEnvironment) -> None:
    proxy = ApiServerProxy(env.connection.server)
    await proxy.open()
    path = kubeconfig(env, server=f"https://127.0.0.1:{proxy.port}")
    process = await env.start_controller(restarts=False, KUBECONFIG=path)
    await env.apply()
    await env.until_reason("Ready", "Checking")
    await proxy.close()
    assert (
        await asyncio.wait_for(process.wait(), scaled(120)) == 1
    )  # the Lease was lost; Kubernetes would restart the pod
    await env.apply("second")
    process = await env.start_controller(restarts=False, KUBECONFIG=path)
    await until(lambda: _in_log(env, "cannot take the Lease"))
    await proxy.open()
    await env.until_reason("Ready", "Checking", "second")
    assert process.returncode is None
    await proxy.close()


async def _in_log(env: ControllerEnvironment, text: str) -> bool:
    return text in env.controller_log()


async def test_a_replaced_token_is_used_by_open_watches(env: ControllerEnvironment, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text((await create_account(env.api, env.namespace, "before", tmp_path)).read_text())
    proxy = ApiServerProxy(env.connection.server)
    await proxy.open()
    path = kubeconfig(env, server=f"https://127.0.0.1:{proxy.port}", token_file=str(file))
    process = await env.start_controller(restarts=False, KUBECONFIG=path)
    await env.apply()
    await env.until_reason("Ready", "Checking")
    file.write_text((await create_account(env.api, env.namespace, "after", tmp_path)).read_text())
    await env.api.delete(ACCOUNTS, env.namespace, "before")
    await _until_refused(env, tmp_path)
    await proxy.close()  # an open watch outlives its token
    await proxy.open()
    await env.apply("second")
    await env.until_reason("Ready", "Checking", "second")
    assert "orbidden" not in env.controller_log()
    assert process.returncode is None
    await env.kill(process)
    await proxy.close()


async def _until_refused(env: ControllerEnvironment, folder: Path) -> None:
    """The API server caches tokens for a few seconds."""
    old = KubeClient(Kubeconfig(env.connection.server, env.connection.ca, token_file=str(folder / "token-before")))

    async def refused() -> bool:
        try:
            await old.list(SCHEDULES, env.namespace)
        except Exception as error:
            return "nauthorized" in str(error) or getattr(error, "reason", "") == "ApiUnauthorized"
        return False

    await until(refused)
    await old.close()
