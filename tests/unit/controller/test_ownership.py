"""Who serves a namespace, decided on what the API server would say; with real ones: tests/e2e/test_releases.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubesweep_controller.kube.cache import Cache
from kubesweep_controller.kube.client import SCHEDULES, Kind, Refused
from kubesweep_controller.reconcile.ownership import BELIEVED, Ownership

MINE, OTHER = "home/mine", "away/other"


class Cluster:
    """Deployments by ``namespace/name``: the value of KUBESWEEP_NAMESPACES, or None where nobody may look."""

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


class House:
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
def house() -> House:
    return House()


async def test_what_nobody_serves_is_ours(house: House) -> None:
    assert await house.ownership.other(house.schedule("carts")) is None
    assert house.cluster.asked == 0


async def test_a_namespace_that_another_release_serves_is_left_to_it(house: House) -> None:
    house.cluster.deployments[OTHER] = ""
    house.schedule("first", OTHER)
    assert await house.ownership.other(house.schedule("second", created=1)) == OTHER
    assert await house.ownership.other(house.schedule("elsewhere", namespace="support")) is None


@pytest.mark.parametrize(
    ("namespaces", "other"),
    [("", OTHER), ("a, shop", OTHER), ("shopping", None), (None, None), ("missing", None)],
)
async def test_the_other_one_serves_what_its_deployment_says(
    house: House, namespaces: str | None, other: str | None
) -> None:
    if namespaces != "missing":
        house.cluster.deployments[OTHER] = namespaces
    assert await house.ownership.other(house.schedule("carts", OTHER)) == other


async def test_of_two_that_began_at_once_the_one_of_the_oldest_schedule_goes_on(house: House) -> None:
    house.cluster.deployments[OTHER] = ""
    ours, theirs = house.schedule("b", MINE, created=1), house.schedule("a", OTHER, created=2)
    assert await house.ownership.other(theirs) is None  # to be taken over
    assert await house.ownership.other(ours) is None
    house.schedule("z", OTHER, created=0)
    assert await house.ownership.other(theirs) == OTHER
    assert await house.ownership.other(ours) == OTHER


async def test_of_two_that_may_not_look_at_each_other_the_later_one_serves(house: House) -> None:
    house.cluster.deployments[OTHER] = None
    body = house.schedule("carts", OTHER)
    assert await house.ownership.other(body) is None
    await house.ownership.claim(body)
    house.schedule("carts", MINE)
    house.now += BELIEVED
    taken_back = house.schedule("carts", OTHER)
    assert await house.ownership.other(taken_back) == OTHER
    house.now += BELIEVED
    assert await house.ownership.other(taken_back) == OTHER
    assert await house.ownership.other(house.schedule("visits", "third/one", namespace="support")) is None


async def test_an_answer_is_believed_for_a_while_and_then_asked_for_again(house: House) -> None:
    house.cluster.deployments[OTHER] = ""
    body = house.schedule("carts", OTHER)
    for _ in range(3):
        assert await house.ownership.other(body) == OTHER
    assert house.cluster.asked == 1
    del house.cluster.deployments[OTHER]
    house.now += BELIEVED
    assert await house.ownership.other(body) is None
    assert house.cluster.asked == 2


async def test_a_claim_is_refused_where_the_schedule_changed_meanwhile(house: House) -> None:
    body = house.schedule("carts")
    written = await house.ownership.claim(body)
    assert written is not None
    assert written["status"] == {"servedBy": MINE}
    assert house.cluster.patches == [
        {
            "kind": SCHEDULES,
            "place": ("shop", "carts", "status"),
            "metadata": {"resourceVersion": "7"},
            "status": {"servedBy": MINE},
        }
    ]
    house.cluster.conflict = True
    assert await house.ownership.claim(body) is None


async def test_it_is_told_once_for_each_schedule(house: House) -> None:
    first, second = house.schedule("a", OTHER), house.schedule("b", OTHER)
    told = house.ownership.leave(first, OTHER)
    assert told is not None
    assert (str(told.reason), told.warning) == ("ServedByAnother", True)
    assert told.note.startswith("away/other (a Deployment) serves this namespace, so home/mine leaves it alone.")
    assert house.ownership.leave(first, OTHER) is None
    assert house.ownership.leave(second, OTHER) is not None
