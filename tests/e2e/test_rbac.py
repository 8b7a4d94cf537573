"""Compares every request of this run's controllers, from the audit log, with the rights that the chart grants. It runs last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.conftest import BEGAN, WHOLE
from tests.e2e.test_hostile import LATE
from tests.kits.audit_log import Request, requests
from tests.kits.rbac import Right, rights_of_the_chart

pytestmark = pytest.mark.bed  # the audit log of a cluster of your own is not readable here
AGENT = "kubesweep-controller"
ACCOUNT = "system:serviceaccount:"


@dataclass
class RevokedRights:
    """Namespaces, and accounts in a namespace, whose rights a test removed: a denial after that is expected."""

    revoked: dict[tuple[str, str], bool] = field(default_factory=dict)

    def observe(self, request: Request) -> None:
        if request.resource == "namespaces" and request.verb == "delete":
            self.revoked[request.name, ""] = True
        elif request.resource == "rolebindings" and request.verb in ("create", "patch", "delete"):
            account = request.name.partition(":")[0].removesuffix("-lease")  # as the chart names them
            self.revoked[request.namespace, account] = request.verb == "delete"

    def explains(self, request: Request) -> bool:
        home, _, account = request.user.removeprefix(ACCOUNT).partition(":")
        places = {home, request.namespace}
        return any(self.revoked.get((place, who), False) for place in places for who in ("", account))


@dataclass(frozen=True)
class AuditSummary:
    asked: tuple[Request, ...]  # by controllers
    denied: tuple[Request, ...]

    @property
    def used(self) -> set[Right]:
        allowed = [each for each in self.asked if each.allowed and each.resource]
        return {(each.group, each.resource, verb) for each in allowed for verb in each.verbs}


@pytest.fixture(scope="module")
def audit(request: pytest.FixtureRequest) -> AuditSummary:
    """The requests of this run's controllers: service accounts with the controller's user agent."""
    seen = sorted(_seen(request.config.stash[BEGAN]), key=lambda each: each.at)
    controllers = {each.user for each in seen if each.agent == AGENT and each.user.startswith(ACCOUNT)}
    revoked, asked, denied = RevokedRights(), list[Request](), list[Request]()
    for each in seen:
        revoked.observe(each)
        if each.user in controllers:
            asked.append(each)
            if not each.allowed and not revoked.explains(each):
                denied.append(each)
    return AuditSummary(tuple(asked), tuple(denied))


def _seen(began: str) -> Iterator[Request]:
    for each in requests(began):
        if each.user.startswith(ACCOUNT) or each.resource in ("namespaces", "rolebindings"):
            yield each


def _listed(rights: set[Right]) -> str:
    return "\n".join(f"{verb} {group}/{resource}" for group, resource, verb in sorted(rights))


def test_no_controller_ever_read_a_secret(audit: AuditSummary) -> None:
    read = [str(each) for each in audit.asked if each.resource == "secrets" and each.verb not in ("create", "patch")]
    assert read == []


def test_no_controller_was_denied_what_it_asked_for(audit: AuditSummary) -> None:
    """Except in the namespace in which test_hostile.py grants the rights later."""
    assert [str(each) for each in audit.denied if LATE not in str(each)] == []


def test_the_controllers_used_what_the_chart_grants_and_nothing_else(
    audit: AuditSummary, request: pytest.FixtureRequest
) -> None:
    granted = rights_of_the_chart()
    assert audit.used <= granted, f"not granted, and yet allowed:\n{_listed(audit.used - granted)}"
    paths = {each.path.partition("?")[0] for each in audit.asked if not each.resource}
    assert {path for path in paths if not path.startswith(("/api", "/version"))} == set()  # discovery of keda.sh
    if request.config.stash[WHOLE]:
        assert granted <= audit.used, f"never used by the whole suite:\n{_listed(granted - audit.used)}"
    users = len({each.user for each in audit.asked})
    print(f"\n{len(audit.asked)} requests of {users} controllers used {len(audit.used)} of {len(granted)} rights")
