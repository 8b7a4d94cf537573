"""Which release serves a namespace, with a simulated API server; tests/e2e/test_releases.py uses a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import SCHEDULES, Kind, Refused
from kubesweep_controller.reconcile.ownership import CACHE_SECONDS, Ownership

MINE, OTHER = "home/mine", "away/other"


class Cluster:
    """Deployments by ``namespace/name``: the value of KUBESWEEP_NAMESPACES, or None where reading is forbidden."""

    def __init__(self) -> None:
        self.deployments: dict[str, str | None] = {}
        self.asked = 0
        self.conflict = False
        self.patches: list[Mapping[str, Any]] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked += 1
        if (namespaced_name := f"{namespace}/{name}") not in self.deployments:
            return None
        if (value := self.deployments[namespaced_name]) is None:
            raise Refused(403, "Forbidden", "not yours")
        env = [{"name": "POD_NAME", "valueFrom": {}}, {"name": "KUBESWEEP_NAMESPACES", "value": value}]
        return {"spec": {"template": {"spec": {"containers": [{"name": "controller", "env": env}]}}}}

    async def patch(self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any], sub: str) -> dict[str, Any]:
        if self.conflict:
            raise Refused(409, "Conflict", "the object has been modified")
        self.patches.append({"kind": kind, "place": (namespace, name, sub), **body})
        return {"metadata": {"namespace": namespace, "name": name}, "status": body["status"]}


class ScheduleSimulation:
    def __init__(self) -> None:
        self.cluster, self.cache, self.now = Cluster(), Cache(), 0.0
        self.ownership = Ownership(self.cluster, self.cache, MINE, lambda: self.now)  # type: ignore[arg-type]

    def schedule(self, name: str, served_by: str = "", created: int = 0, namespace: str = "shop") -> dict[str, Any]:
        body = {
            "metadata": {
                "namespace": namespace,
                "name": name,
                "uid": f"{namespace}-{name}",
                "resourceVersion": "7",
                "creationTimestamp": f"2026-11-24T00:00:{created:02}Z",
            },
            "status": {"servedBy": served_by} if served_by else {},
        }
        self.cache.schedules[namespace, name] = body
        return body


@pytest.fixture
def sim() -> ScheduleSimulation:
    return ScheduleSimulation()


async def test_a_schedule_without_a_release_is_ours(sim: ScheduleSimulation) -> None:
    assert await sim.ownership.other(sim.schedule("carts")) is None
    assert sim.cluster.asked == 0


async def test_a_namespace_that_another_release_serves_is_left_to_it(sim: ScheduleSimulation) -> None:
    sim.cluster.deployments[OTHER] = ""
    sim.schedule("first", OTHER)
    assert await sim.ownership.other(sim.schedule("second", created=1)) == OTHER
    assert await sim.ownership.other(sim.schedule("elsewhere", namespace="support")) is None


@pytest.mark.parametrize(
    ("namespaces", "other"),
    [("", OTHER), ("a, shop", OTHER), ("shopping", None), (None, None), ("missing", None)],
)
async def test_the_other_release_serves_what_its_deployment_configures(
    sim: ScheduleSimulation, namespaces: str | None, other: str | None
) -> None:
    if namespaces != "missing":
        sim.cluster.deployments[OTHER] = namespaces
    assert await sim.ownership.other(sim.schedule("carts", OTHER)) == other


async def test_of_two_that_began_at_once_the_one_of_the_oldest_schedule_goes_on(sim: ScheduleSimulation) -> None:
    sim.cluster.deployments[OTHER] = ""
    ours, theirs = sim.schedule("b", MINE, created=1), sim.schedule("a", OTHER, created=2)
    assert await sim.ownership.other(theirs) is None  # to be taken over
    assert await sim.ownership.other(ours) is None
    sim.schedule("z", OTHER, created=0)
    assert await sim.ownership.other(theirs) == OTHER
    assert await sim.ownership.other(ours) == OTHER


async def test_of_two_releases_that_cannot_read_each_other_the_later_one_serves(sim: ScheduleSimulation) -> None:
    sim.cluster.deployments[OTHER] = None
    body = sim.schedule("carts", OTHER)
    assert await sim.ownership.other(body) is None
    await sim.ownership.claim(body)
    sim.schedule("carts", MINE)
    sim.now += CACHE_SECONDS
    taken_back = sim.schedule("carts", OTHER)
    assert await sim.ownership.other(taken_back) == OTHER
    sim.now += CACHE_SECONDS
    assert await sim.ownership.other(taken_back) == OTHER
    assert await sim.ownership.other(sim.schedule("visits", "third/one", namespace="support")) is None


async def test_an_answer_is_believed_for_a_while_and_then_asked_for_again(sim: ScheduleSimulation) -> None:
    sim.cluster.deployments[OTHER] = ""
    body = sim.schedule("carts", OTHER)
    for _ in range(3):
        assert await sim.ownership.other(body) == OTHER
    assert sim.cluster.asked == 1
    del sim.cluster.deployments[OTHER]
    sim.now += CACHE_SECONDS
    assert await sim.ownership.other(body) is None
    assert sim.cluster.asked == 2


async def test_a_claim_is_refused_where_the_schedule_changed_meanwhile(sim: ScheduleSimulation) -> None:
    body = sim.schedule("carts")
    written = await sim.ownership.claim(body)
    assert written is not None
    assert written["status"] == {"servedBy": MINE}
    assert sim.cluster.patches == [
        {
            "kind": SCHEDULES,
            "place": ("shop", "carts", "status"),
            "metadata": {"resourceVersion": "7"},
            "status": {"servedBy": MINE},
        }
    ]
    sim.cluster.conflict = True
    assert await sim.ownership.claim(body) is None


async def test_it_is_reported_once_for_each_schedule(sim: ScheduleSimulation) -> None:
    initial, second = sim.schedule("a", OTHER), sim.schedule("b", OTHER)
    logged = sim.ownership.leave(initial, OTHER)
    assert logged is not None
    assert (str(logged.reason), logged.warning) == ("ServedByAnother", True)
    assert logged.note.startswith("away/other (a Deployment) serves this namespace, so home/mine ignores it.")
    assert sim.ownership.leave(initial, OTHER) is None
    assert sim.ownership.leave(second, OTHER) is not None
