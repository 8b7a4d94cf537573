"""The last of all tests. It looks back at what every controller of this run asked the API server for, in pods and beside them,
and compares that with what the chart grants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.conftest import BEGAN, WHOLE
from tests.e2e.test_hostile import LATE
from tests.kits.audit_log import Request, requests
from tests.kits.rbac import Right, rights_of_the_chart

pytestmark = pytest.mark.bed  # a cluster of your own keeps its audit log where it likes, if at all
AGENT = "kubesweep-controller"
ACCOUNT = "system:serviceaccount:"


@dataclass
class Ends:
    """Which namespaces, and which accounts in a namespace, had their rights taken away: what is refused then is an end, not a lack."""

    ended: dict[tuple[str, str], bool] = field(default_factory=dict)

    def saw(self, request: Request) -> None:
        if request.resource == "namespaces" and request.verb == "delete":
            self.ended[request.name, ""] = True
        elif request.resource == "rolebindings" and request.verb in ("create", "patch", "delete"):
            account = request.name.partition(":")[0].removesuffix("-lease")  # as the chart names them
            self.ended[request.namespace, account] = request.verb == "delete"

    def excuse(self, request: Request) -> bool:
        home, _, account = request.user.removeprefix(ACCOUNT).partition(":")
        places = {home, request.namespace}
        return any(self.ended.get((place, who), False) for place in places for who in ("", account))


@dataclass(frozen=True)
class Story:
    asked: tuple[Request, ...]  # by controllers
    denied: tuple[Request, ...]

    @property
    def used(self) -> set[Right]:
        allowed = [each for each in self.asked if each.allowed and each.resource]
        return {(each.group, each.resource, verb) for each in allowed for verb in each.verbs}


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest) -> Story:
    """Of this run. A controller is who called itself one, with a service account of its own."""
    seen = sorted(_seen(request.config.stash[BEGAN]), key=lambda each: each.at)
    controllers = {each.user for each in seen if each.agent == AGENT and each.user.startswith(ACCOUNT)}
    ends, asked, denied = Ends(), list[Request](), list[Request]()
    for each in seen:
        ends.saw(each)
        if each.user in controllers:
            asked.append(each)
            if not each.allowed and not ends.excuse(each):
                denied.append(each)
    return Story(tuple(asked), tuple(denied))


def _seen(began: str) -> Iterator[Request]:
    for each in requests(began):
        if each.user.startswith(ACCOUNT) or each.resource in ("namespaces", "rolebindings"):
            yield each


def _said(rights: set[Right]) -> str:
    return "\n".join(f"{verb} {group}/{resource}" for group, resource, verb in sorted(rights))


def test_no_controller_ever_read_a_secret(story: Story) -> None:
    read = [str(each) for each in story.asked if each.resource == "secrets" and each.verb not in ("create", "patch")]
    assert read == []


def test_no_controller_was_denied_what_it_asked_for(story: Story) -> None:
    """But in a namespace that it was to serve and had no rights in yet (test_hostile.py)."""
    assert [str(each) for each in story.denied if LATE not in str(each)] == []


def test_the_controllers_used_what_the_chart_grants_and_nothing_else(
    story: Story, request: pytest.FixtureRequest
) -> None:
    granted = rights_of_the_chart()
    assert story.used <= granted, f"not granted, and yet allowed:\n{_said(story.used - granted)}"
    paths = {each.path.partition("?")[0] for each in story.asked if not each.resource}
    assert {path for path in paths if not path.startswith(("/api", "/version"))} == set()  # /apis/keda.sh: is it there?
    if request.config.stash[WHOLE]:
        assert granted <= story.used, f"never used by the whole suite:\n{_said(granted - story.used)}"
    users = len({each.user for each in story.asked})
    print(f"\n{len(story.asked)} requests of {users} controllers used {len(story.used)} of {len(granted)} rights")
