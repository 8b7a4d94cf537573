"""How the client of the Kubernetes API reads pages, proxies' answers and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from kubesweep_controller.kube.client import DEPLOYMENTS, SCHEDULES, ApiOutage, KubeClient, Refused
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from tests.integration.receivers import receiver


async def test_objects_that_are_large_are_read_in_smaller_pages() -> None:
    """Twenty objects of more than a megabyte: only some of them are in memory at once."""
    bodies = [{"metadata": {"name": f"s{n}", "resourceVersion": "7"}, "spec": "x" * 1_200_000} for n in range(20)]
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        items = bodies[start : start + limit]
        sizes.append(len(items))
        after = {"continue": str(start + limit)} if start + limit < len(bodies) else {}
        return web.json_response({"metadata": {"resourceVersion": "9", **after}, "items": items})

    async with receiver(answer) as url:
        client = KubeClient(Kubeconfig(url))
        found = await client.list(SCHEDULES, None)
        await client.close()
    assert [each["metadata"]["name"] for each in found] == [f"s{n}" for n in range(20)]
    assert found.version == 9
    assert sizes.count(1) >= 19


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "<html>", "", "[" * 20_000])
@pytest.mark.parametrize("status", [200, 403, 404, 502])
async def test_what_a_proxy_answers_in_place_of_the_api_server_is_an_outage_or_a_refusal(
    text: str, status: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    async with receiver(answer) as url:
        client = KubeClient(Kubeconfig(url))
        try:
            if status == 404:
                assert await client.serves("keda.sh/v1alpha1") is False
            else:
                with pytest.raises(Refused if status == 403 else ApiOutage):
                    await client.serves("keda.sh/v1alpha1")
        finally:
            await client.close()


async def test_a_delete_names_the_very_object() -> None:
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"reason": "Conflict", "message": "the UID in the precondition"}, status=409)

    async with receiver(answer) as url:
        client = KubeClient(Kubeconfig(url))
        assert await client.delete(DEPLOYMENTS, "shop", "a-worker", "c1") is False
        with pytest.raises(Refused):
            await client.delete(DEPLOYMENTS, "shop", "a-worker")
        await client.close()
    assert asked[0]["preconditions"] == {"uid": "c1"}


@pytest.mark.parametrize(
    "message",
    [
        'failed to convert new object (shop/a-worker; apps/v1, Kind=Deployment) to smd typed: quantities must match the regular expression',
        "failed to create typed patch object (shop/a; apps/v1, Kind=Deployment): .spec.x: field not declared in schema",
    ],
)  # fmt: skip
def test_an_invalid_object_is_not_a_busy_server(message: str) -> None:
    assert Refused(500, "InternalError", message).invalid
    assert not Refused(500, "InternalError", "etcdserver: request timed out").invalid
