"""The part of an API server that kopf asks first: which kinds there are. A test adds what it lists and watches."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from kubesweep_controller.kube.cache import WATCHED
from kubesweep_controller.kube.client import NAMESPACES, Kind


def discovery(path: str) -> web.Response | None:
    """The response for a path of discovery, with the watched kinds. None for every other path."""
    group = next((kind for kind in WATCHED if path == f"/apis/{kind.group_version}"), None)
    if group is not None:
        return _resources(group.group_version, _resource(group))
    if path in ("/api", "/api/v1"):  # kopf waits for them to be there
        return _resources("v1", {**_resource(NAMESPACES), "namespaced": False})
    if path != "/apis":
        return None
    versions = [{"groupVersion": kind.group_version, "version": kind.group_version.split("/")[1]} for kind in WATCHED]
    groups = [
        {"name": each["groupVersion"].split("/")[0], "versions": [each], "preferredVersion": each} for each in versions
    ]
    return web.json_response({"kind": "APIGroupList", "groups": groups})


def _resource(kind: Kind) -> dict[str, Any]:
    return {"name": kind.plural, "singularName": "", "namespaced": True, "kind": kind.kind, "verbs": ["list", "watch"]}


def _resources(version: str, kind: dict[str, Any]) -> web.Response:
    listed = {"kind": "APIResourceList", "groupVersion": version, "versions": ["v1"], "resources": [kind]}
    return web.json_response(listed)
