"""How a worker's pod gets its database credentials: the volume and the environment.

Three sources are supported: a URL, parts of a URL, and files that a container of the user's own writes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubesweep.api.database_url import CA_FILE, Parts
from kubesweep.api.models.source import Source
from kubesweep.text import unexpandable
from kubesweep_controller.children.names import WORKER

VOLUME, FOLDER = "database", "/run/kubesweep/database"
_URL_FILE, _SECRET = "KUBESWEEP_DATABASE_URL_FILE", "KUBESWEEP_DATABASE_SECRET"
_CONNECTION, _DIR, _VOLUME = "KUBESWEEP_DATABASE_CONNECTION", "KUBESWEEP_DATABASE_DIR", "KUBESWEEP_DATABASE_VOLUME"
VARIABLES = frozenset({_URL_FILE, _SECRET, _CONNECTION, _DIR, _VOLUME})


def volumes(source: Source) -> list[dict[str, Any]]:
    """The volume that is mounted at FOLDER, if one is needed. A missing Secret, or a missing key of it, does not stop the pod."""
    if source.url_from is not None:
        ref = source.url_from.secret_key_ref
        if ref is None:
            return []
        items = [{"key": ref.key, "path": "url"}]
        return [{"name": VOLUME, "secret": {"secretName": ref.name, "optional": True, "items": items}}]
    parts = _parts(source)
    sources = [_projection(parts.secret, parts.keys)] if parts.keys else []
    if parts.ca:
        name, key = parts.ca
        sources.append(_projection(name, {CA_FILE: key}))
    return [{"name": VOLUME, "projected": {"sources": sources}}] if sources else []


def environment(source: Source, volume: str = "") -> list[dict[str, str]]:
    """The worker's variables. ``volume``: the name of the user's volume that is mounted at FOLDER instead of ours."""
    if source.url_from is not None:
        ref = source.url_from.secret_key_ref
        env = {_URL_FILE: source.url_from.file or f"{FOLDER}/url"}
        if ref is not None and not volume:
            env[_SECRET] = f"{ref.name}/{ref.key}"
    else:
        text = unexpandable(msgspec.json.encode(_parts(source), order="deterministic").decode())
        env = {_CONNECTION: text, _DIR: FOLDER}
        if volume:
            env[_VOLUME] = volume
    return [{"name": name, "value": value} for name, value in env.items()]


def replaced_by(template: Mapping[str, Any], ours: Sequence[Mapping[str, Any]]) -> str:
    """The name of the volume that an overlay mounts in place of ``ours``; "" where ours is intact."""
    (container,) = [each for each in template["spec"]["containers"] if each.get("name") == WORKER]
    mounts = container.get("volumeMounts") or ()
    at = [str(each.get("name")) for each in mounts if posixpath.normpath(str(each.get("mountPath"))) == FOLDER]
    if not ours or not at:
        return ""
    found = [each for each in template["spec"].get("volumes") or () if each.get("name") == at[0]]
    intact = at[0] == VOLUME and bool(found) and _identity(found[0]) == _identity(ours[0])
    return "" if intact else at[0]


def without_unused(template: dict[str, Any]) -> dict[str, Any]:
    """The template without our volume where no container mounts it: a pod must not need a Secret that it does not read."""
    spec = template["spec"]
    mounts = [
        mount.get("name")
        for kind in ("containers", "initContainers")
        for container in spec.get(kind) or ()
        for mount in container.get("volumeMounts") or ()
    ]
    kept = [each for each in spec.get("volumes") or () if each.get("name") != VOLUME or VOLUME in mounts]
    return {**template, "spec": {**spec, "volumes": kept}}


def _identity(volume: Mapping[str, Any]) -> object:
    """Which Secrets a volume shows. An overlay may set its mode without replacing it."""
    for name, field in (("secret", "secretName"), ("projected", "sources")):
        if name in volume:
            source = volume[name]
            return source.get(field) if isinstance(source, Mapping) else source
    return None


def _parts(source: Source) -> Parts:
    assert source.connection is not None  # exactly one of the two is given
    return source.connection.parts


def _projection(secret: str, keys: Mapping[str, str]) -> dict[str, Any]:
    items = [{"key": key, "path": path} for path, key in keys.items()]
    return {"secret": {"name": secret, "optional": True, "items": items}}
