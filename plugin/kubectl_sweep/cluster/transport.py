"""Requests to the API server. Each answer that is no success raises an error that says what to do: see :mod:`.errors`.

The client of the kubernetes package makes the connection: TLS, proxies, tokens that expire. Its models are not used: a list of 1,000
objects would be built twice, and a field of a later version would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from kubernetes.client.exceptions import ApiException
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, SSLError, TimeoutError

from kubectl_sweep.cluster.errors import ApiRefused, Right, refusal
from kubectl_sweep.cluster.options import ClusterOptions
from kubesweep.errors import KubesweepError, Outage

__all__ = ["Transport"]

Object = dict[str, Any]
Query = Iterable[tuple[str, str]]
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
AGENT = "kubectl-sweep"
FORBIDDEN = 403
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Transport:
    """``api`` is an ApiClient of the kubernetes package."""

    def __init__(self, api: Any, options: ClusterOptions) -> None:
        self.api = api
        self.options = options

    @property
    def host(self) -> str:
        return str(self.api.configuration.host)

    def headers(self) -> HTTPHeaderDict:
        """Login and impersonation. Refreshes a token that expired."""
        made = HTTPHeaderDict({"User-Agent": AGENT})
        for setting in self.api.configuration.auth_settings().values():
            made[setting["key"]] = setting["value"]
        if self.options.as_user:
            made["Impersonate-User"] = self.options.as_user
        for group in self.options.as_groups:
            made.add("Impersonate-Group", group)
        return made

    def url(self, path: str, query: Query = ()) -> str:
        words = urlencode(list(query))
        return f"{self.host}{path}" + (f"?{words}" if words else "")

    def json(
        self, method: str, path: str, right: Right, *, query: Query = (), body: Any = None, kind: str = ""
    ) -> Object:
        """The decoded answer. ``kind`` is the content type of ``body``. ``right`` is what the request needs, for the error."""
        with self._open(method, path, right, query, body, kind, self.options.timeouts) as answer:
            return cast(Object, msgspec.json.decode(self._read(answer)))

    def lines(self, path: str, right: Right, query: Query, seconds: float | None) -> Iterator[bytes]:
        """The lines of an answer that goes on: a watch or a log. ``seconds``: the longest silence; None: any.

        Ends without an error if the connection breaks, because each caller has to go on after the server's end of it anyway.
        """
        timeouts = (self.options.timeouts[0], seconds)
        with self._open("GET", path, right, query, None, "", timeouts) as answer:
            rest = b""
            try:
                for part in answer.stream(1 << 16, decode_content=True):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from whole
            except (HTTPError, OSError):
                return
            if rest:
                yield rest

    def _open(
        self, method: str, path: str, right: Right, query: Query, body: Any, kind: str,
        timeouts: tuple[float | None, float | None],
    ) -> HTTPResponse:  # fmt: skip
        headers = self.headers()
        headers["Accept"] = "application/json, */*"
        if body is not None:
            headers["Content-Type"] = kind or "application/json"
        if method == "GET" and not any(name in ("watch", "follow") for name, _ in query):
            headers["Accept-Encoding"] = "gzip"
        try:
            asked = self.api.call_api(method, self.url(path, query), headers, body, _request_timeout=timeouts)
        except (HTTPError, ApiException) as error:
            raise self.unreachable(error) from None
        answer = cast(HTTPResponse, asked.response)
        if not 200 <= answer.status < 300:
            said = _status_of(self._read(answer))
            if answer.status == FORBIDDEN and method != "GET" and path != REVIEWS and self._has(right):
                # The user has the right: an admission policy, a webhook or a quota refuses this object.
                raise ApiRefused(answer.status, "Forbidden", str(said.get("message") or "the API server forbids it"))
            raise refusal(answer.status, said, right)
        return answer

    def _has(self, right: Right) -> bool:
        """Whether the user has the right. False where the API server does not tell."""
        resource, _, subresource = right.resource.partition("/")
        asked = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource}
        spec = {"resourceAttributes": {**asked, "namespace": right.namespace or ""}}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        try:
            answer = self.json("POST", REVIEWS, Right("create", "selfsubjectaccessreviews"), body=body)
        except KubesweepError:
            return False
        return bool((answer.get("status") or {}).get("allowed"))

    def _read(self, answer: HTTPResponse) -> bytes:
        try:
            return answer.read(decode_content=True)
        except (HTTPError, OSError) as error:
            raise self.unreachable(error) from None

    def unreachable(self, error: Exception) -> Outage:
        """What prevented a connection or an answer."""
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        help_ = "Check the context, the VPN and the proxy:  kubectl cluster-info"
        if isinstance(cause, TimeoutError) and not isinstance(cause, NewConnectionError):
            wait = self.options.timeouts[0 if isinstance(cause, ConnectTimeoutError) else 1]
            return Outage(
                "ApiUnreachable",
                f"The API server {self.host} does not answer within {wait or 0:g} s.\n{help_}\nor wait longer:  --request-timeout 60s",
            )
        if isinstance(cause, SSLError) or "SSL" in str(cause):
            return Outage(
                "ApiTls",
                f"No TLS connection to the API server {self.host}: {_text(cause)}.\n"
                "Its certificate does not fit certificate-authority of this context: fetch the kubeconfig again.",
            )
        return Outage("ApiUnreachable", f"The API server {self.host} cannot be reached: {_text(cause)}.\n{help_}")


def _text(error: BaseException) -> str:
    """urllib3 puts its object in front of the words."""
    return str(error).rpartition(">: ")[2] or type(error).__name__


def _status_of(data: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {"message": data[:300].decode(errors="replace").strip()}
    return found if isinstance(found, dict) else {}
