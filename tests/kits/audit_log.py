"""The requests in the API server's audit log: user, verb, object and response code. It has no bodies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.testbed import Bed


@dataclass(frozen=True)
class Request:
    at: str  # when it was received; these texts sort as the times do
    user: str
    agent: str
    verb: str
    group: str
    resource: str  # with its subresource; empty for a path that is no resource
    namespace: str
    name: str
    path: str
    code: int
    allowed: bool

    @property
    def verbs(self) -> set[str]:
        """The verbs that RBAC checked: a server-side apply that creates the object needs two."""
        return {self.verb, "create"} if self.verb == "patch" and self.code == 201 else {self.verb}

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}".strip("/")
        return f"{self.at} {self.user} {self.verb} {self.resource or self.path} {where} {self.code}"


def requests(since: str, about: str = "") -> Iterator[Request]:
    """Requests received at or after ``since``, in the order of their responses. Only lines that contain ``about`` are parsed."""
    current = Path(os.environ.get("KUBESWEEP_AUDIT_LOG") or Bed.selected().audit_log)
    for file in (
        *sorted(current.parent.glob(f"{current.stem}-*{current.suffix}")),
        current,
    ):  # the API server rotates it at 100 MB
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if about in line and line.endswith("\n"):
                    event = json.loads(line)
                    if event["requestReceivedTimestamp"] >= since:
                        yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef") or {}
    resource, sub = about.get("resource", ""), about.get("subresource", "")
    decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
    return Request(
        at=event["requestReceivedTimestamp"],
        user=event["user"].get("username", ""),
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        group=about.get("apiGroup", ""),
        resource=f"{resource}/{sub}" if sub else resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        path=event["requestURI"],
        code=(event.get("responseStatus") or {}).get("code", 0),
        allowed=decision != "forbid",
    )
