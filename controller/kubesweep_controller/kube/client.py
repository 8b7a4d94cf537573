"""The Kubernetes API: plain objects in, plain objects out, two kinds of errors.

``ApiOutage``: the server is down or busy, retry later. ``Refused``: the server refused the request, with its reason. A missing object is
None, not an error. The token's file is read before each call, because the cluster rotates the token.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from kubesweep.errors import KubesweepError, Outage
from kubesweep_controller.kube.kubeconfig import Kubeconfig

MANAGER = "kubesweep"
TIMEOUT = 20.0
AT_ONCE = 32  # concurrent connections
PAGE = 200  # objects in one page of a list
LARGE = 1024 * 1024  # bytes of one page with several objects; one object has at most 1.5 MB (etcd's limit)
_BUSY = (408, 429, 500, 502, 503, 504)
_WRONG = ("failed to create typed patch object", "failed to convert new object", "failed to update managedFields")
# An admission policy refuses (with 422, as for an invalid object). It can change without an edit of the object.
_POLICY = ("ValidatingAdmissionPolicy", "admission webhook")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")  # YAML 1.1: c-printable, b-char
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"

Body = dict[str, Any]


class ApiOutage(Outage):
    """The Kubernetes API is unavailable. Nothing can be read or written until it responds."""


class Refused(KubesweepError):
    """The API server refused a request. ``reason`` is the server's own: Invalid, Forbidden, Conflict, AlreadyExists, ..."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def invalid(self) -> bool:
        """The object itself is invalid. A failed conversion of it is reported as a 500."""
        if any(part in str(self) for part in _POLICY):
            return False
        return self.status in (400, 422) or (self.status == 500 and any(part in str(self) for part in _WRONG))


class TooLarge(KubesweepError):
    """The answer has more bytes than the caller accepts."""


class Listed(list[Body]):
    """Objects, and the resource version of the list (0: unknown)."""

    version = 0


@dataclass(frozen=True)
class Kind:
    """``group_version`` as in apiVersion."""

    group_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str = "", sub: str = "") -> str:
        root = f"/api/{self.group_version}" if "/" not in self.group_version else f"/apis/{self.group_version}"
        steps = [root, *(("namespaces", namespace) if namespace else ()), self.plural, name, sub]
        return "/".join(quote(step, safe="/") for step in steps if step)


SCHEDULES = Kind("kubesweep.dev/v1alpha1", "SweepSchedule", "sweepschedules")
CRONJOBS = Kind("batch/v1", "CronJob", "cronjobs")
DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
SCALEDOBJECTS = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
TRIGGER_AUTHENTICATIONS = Kind("keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications")
PODS = Kind("v1", "Pod", "pods")
SECRETS = Kind("v1", "Secret", "secrets")
NAMESPACES = Kind("v1", "Namespace", "namespaces")
EVENTS = Kind("events.k8s.io/v1", "Event", "events")
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")


class KubeClient:
    """One connection pool to one API server. ``timeout``: seconds for each call."""

    agent = "kubesweep-controller"  # the user agent, which the audit log shows

    def __init__(self, kubeconfig: Kubeconfig, timeout: float = TIMEOUT) -> None:
        self._kubeconfig = kubeconfig
        self._session: aiohttp.ClientSession | None = None
        self._timeout = timeout

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        return await self._maybe("GET", kind.path(namespace, name))

    async def serves(self, group_version: str) -> bool:
        """Whether the cluster serves this group, or this version of a group."""
        return await self._maybe("GET", f"/apis/{group_version}") is not None

    async def list(self, kind: Kind, namespace: str | None, selector: str = "") -> Listed:
        """All objects of a namespace, or of all namespaces (None)."""
        found = Listed()
        async for page in self.pages(kind, namespace, selector):
            found += page
            found.version = found.version or page.version
        return found

    async def pages(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Listed]:
        """All objects, one page in memory at a time. Pages that would be too large are requested again in smaller ones."""
        version, limit, query = 0, PAGE, {"labelSelector": selector} if selector else {}
        while True:
            path = f"{kind.path(namespace)}?{urlencode({'limit': limit, **query})}"
            try:
                page = await self._call("GET", path, most=LARGE if limit > 1 else None)
            except TooLarge:
                limit = max(1, limit // 8)
                continue
            found, after = Listed(page["items"]), page["metadata"].get("continue")
            version = found.version = version or _version(page["metadata"].get("resourceVersion"))
            del page
            yield found
            del found
            if not after:
                return
            query["continue"] = after

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Body:
        space = body["metadata"]["namespace"]
        return await self._call("POST", f"{kind.path(space)}?fieldManager={MANAGER}", body)

    async def apply(self, kind: Kind, body: Mapping[str, Any], manager: str = MANAGER, *, force: bool = True) -> Body:
        """Server-side apply. The caller has verified that the object is ours, because a forced apply adopts any object.

        Without force it creates the object if there is none, and fails with Conflict where somebody else wrote a field first.
        """
        meta = body["metadata"]
        query = urlencode({"fieldManager": manager, **({"force": "true"} if force else {})})
        return await self._call("PATCH", f"{kind.path(meta['namespace'], meta['name'])}?{query}", body, _APPLY)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any], sub: str = "") -> Body | None:
        """JSON merge patch, of the subresource ``sub`` if given. None: no such object."""
        path = f"{kind.path(namespace, name, sub)}?fieldManager={MANAGER}"
        return await self._maybe("PATCH", path, body, _MERGE)

    async def replace_status(self, kind: Kind, live: Mapping[str, Any], status: Mapping[str, Any]) -> Body | None:
        """Write the whole status of this very object (by uid). None: the object is gone."""
        meta = live["metadata"]
        path = f"{kind.path(meta['namespace'], meta['name'], 'status')}?fieldManager={MANAGER}"
        same = {"op": "test", "path": "/metadata/uid", "value": meta["uid"]}
        steps = [same, {"op": "add", "path": "/status", "value": status}]
        return await self._maybe("PATCH", path, steps, "application/json-patch+json")

    async def create_event(self, body: Mapping[str, Any]) -> bool:
        """False: an Event of that name exists."""
        try:
            await self.create(EVENTS, body)
        except Refused as refused:
            if refused.reason == "AlreadyExists":
                return False
            raise
        return True

    async def patch_event(self, namespace: str, name: str, body: Mapping[str, Any]) -> Body | None:
        """The Event after the merge patch; None: there is none."""
        return await self.patch(EVENTS, namespace, name, body)

    async def replace(self, kind: Kind, body: Mapping[str, Any]) -> Body:
        """PUT. Fails with Conflict where the object changed since the body was read."""
        meta = body["metadata"]
        return await self._call("PUT", kind.path(meta["namespace"], meta["name"]), body)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str | None = None) -> bool:
        """False: there was none, or, with ``uid``, only another object of that name."""
        options = {"propagationPolicy": "Background", **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            return await self._maybe("DELETE", kind.path(namespace, name), options) is not None
        except Refused as refused:
            if uid and refused.reason == "Conflict":
                return False
            raise

    async def _maybe(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Body | None:
        try:
            return await self._call(method, path, body, kind)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", most: int | None = None
    ) -> Body:
        """Raises ``TooLarge`` for an answer of more than ``most`` bytes, which is not read completely."""
        headers = {"Accept": "application/json", "Content-Type": kind, "User-Agent": self.agent}
        server = self._kubeconfig.server
        data = None if body is None else encoded(body)
        try:
            if token := self._kubeconfig.token():
                headers["Authorization"] = f"Bearer {token}"
            async with asyncio.timeout(self._timeout):
                async with self._open().request(method, server + path, data=data, headers=headers) as answer:
                    text = await _text(answer, most)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            what = str(error) or type(error).__name__
            raise ApiOutage("ApiUnreachable", f"Kubernetes API {server}: {what}") from error
        return _answer(answer.status, text, server)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._kubeconfig.ssl_context(), limit=AT_ONCE)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def encoded(body: Any) -> bytes:
    """JSON that is valid YAML too, because the API server parses an applied body as YAML.

    In YAML half of a surrogate pair is no valid escape, so nothing beyond U+FFFF is escaped. Unprintable characters and other line ends
    must be escaped.
    """
    return _UNPRINTABLE.sub(_escape, json.dumps(body, ensure_ascii=False)).encode()


def _escape(found: re.Match[str]) -> str:
    return "\\ufffd" if "\ud800" <= found[0] <= "\udfff" else f"\\u{ord(found[0]):04x}"


async def _text(answer: aiohttp.ClientResponse, most: int | None) -> bytes:
    if most is None:
        return await answer.read()
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            raise TooLarge(f"a response of more than {most} bytes")
    return b"".join(parts)


def _version(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() else 0


def _answer(status: int, text: bytes, server: str) -> Body:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):  # from a proxy in front of the API server
        if status < 300:
            start = text[:100].decode(errors="replace")
            raise ApiOutage("ApiUnreachable", f"Kubernetes API {server}: the response is not an object: {start}")
        body = {}
    if status < 300:
        return body
    message = str(body.get("message") or text.decode(errors="replace")[:300])
    reason = str(body.get("reason") or f"Http{status}")
    refused = Refused(status, reason, message)
    if status == 401 or (status in _BUSY and not refused.invalid):
        raise ApiOutage("ApiUnauthorized" if status == 401 else "ApiBusy", f"Kubernetes API {server}: {message}")
    raise refused
