"""What the API server and the login refuse, as errors that say what to do.

=================  ================================================  =========
Forbidden          the user lacks a right                            exit code 1
ApiRefused         the API server refuses this request               exit code 1
Unanswered         no controller acted on a command in time          exit code 3
Outage             no connection, no login, or no answer in time     exit code 3
SpecError          a wrong name, context or kubeconfig               exit code 2
=================  ================================================  =========
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kubesweep.errors import KubesweepError, Outage, SpecError

__all__ = [
    "RIGHTS_PAGE",
    "ApiRefused",
    "Forbidden",
    "Right",
    "Unanswered",
    "UnknownSchedule",
    "not_installed",
    "refusal",
]

RIGHTS_PAGE = "docs/kubectl.md#rights"


class Right(NamedTuple):
    """A right as a Role grants it."""

    verb: str
    resource: str  # with its subresource: pods/exec
    group: str = ""
    namespace: str | None = None  # None: in all namespaces

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"the right to {self.verb} {self.resource} {where}"


class Forbidden(KubesweepError):
    """The user lacks ``right``."""

    def __init__(self, right: Right, said: str = "") -> None:
        said = f"\nThe API server says: {said}" if said else ""
        super().__init__(f"You need {right}: {RIGHTS_PAGE}.{said}")
        self.right = right


class ApiRefused(KubesweepError):
    """The API server refuses a request for another reason than a missing right. ``status`` is the HTTP status, ``reason`` its word."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unanswered(Outage):
    """A command is set, but no controller acted on it in time. It still may."""

    def __init__(self, message: str) -> None:
        super().__init__("Unanswered", message)


class UnknownSchedule(SpecError):
    """There is no schedule of that name."""

    def __init__(self, message: str) -> None:
        super().__init__("UnknownSchedule", message)


def not_installed() -> SpecError:
    return SpecError(
        "NotInstalled",
        "Kubesweep is not installed in this cluster: it has no SweepSchedules.\n"
        "Install it:  helm install kubesweep charts/kubesweep -n kubesweep --create-namespace  (docs/install.md)\n"
        "or name another cluster:  --context NAME; kubectl config get-contexts lists them.",
    )


def refusal(status: int, answer: Mapping[str, Any], right: Right) -> KubesweepError:
    """The error for an answer that is no success. ``answer`` is the API server's Status object, or empty."""
    said = str(answer.get("message") or f"HTTP status {status}")
    if status == 401:
        return Outage(
            "ApiLogin",
            "The API server refuses your login: the token or the certificate of this context is expired or wrong.\n"
            "Log in again as your cluster provider says, then try:  kubectl auth whoami",
        )
    if status == 403:
        kind = str((answer.get("details") or {}).get("kind", ""))
        if kind in ("users", "groups", "serviceaccounts") and "impersonate" in said:
            return Forbidden(Right("impersonate", kind), said)
        return Forbidden(right, said)
    if status == 429 or status >= 500:
        return Outage("ApiBusy", f"The API server cannot answer now ({said}).\nTry again.")
    return ApiRefused(status, str(answer.get("reason") or status), said)
