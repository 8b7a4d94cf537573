"""The console of a release with a leader and a standby: both show the schedules of the cluster, and neither can be written to."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping

import pytest

from tests.cluster.testbed import REPOSITORY
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.releases import NAMESPACED, SCHEDULE, Release, apply, sqlite_schedule, swept

VALUES = {**NAMESPACED, "console.enabled": "true", "controller.replicas": "2", "networkPolicy.enabled": "true"}
ACTIONS = ("trigger", "approve", "pause", "resume", "retry", "purge")


@pytest.fixture(scope="module", autouse=True)
def crd(cluster: Cluster) -> None:
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())


def ask(port: int, path: str, data: bytes | None = None) -> tuple[int, str, Mapping[str, str]]:
    """The status, text and headers of an answer; with ``data`` to a POST."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=60) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def test_leader_and_standby_show_the_schedules_and_accept_no_action(namespace: Namespace) -> None:
    release = Release(namespace)
    release.install(VALUES)
    apply(namespace, sqlite_schedule("visits"))
    before = namespace.until(SCHEDULE, "visits", swept(1), what="the row is swept", patience=180)
    pods = [each["metadata"]["name"] for each in namespace.all("v1 Pod", "app.kubernetes.io/component=controller")]
    assert release.leader() in pods
    assert len(pods) == 2
    for each in (f"service/{release.fullname}-console", *(f"pod/{name}" for name in pods)):
        with namespace.forwarded(each, 80 if each.startswith("service/") else 8081) as port:
            assert_shows(port, namespace.name)
            assert_only_shows(port, namespace.name)
    after = namespace.get(SCHEDULE, "visits")
    assert after is not None
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def assert_shows(port: int, namespace: str) -> None:
    status, fleet, headers = ask(port, "/")
    assert (status, "visits" in fleet, "Completed" in fleet) == (200, True, True)
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    status, page, _ = ask(port, f"/schedules/{namespace}/visits")
    assert status == 200
    assert "every 24h" in page
    assert "seen_at" in page
    assert "sqlite:" not in fleet + page, "the database's address is in a Secret"


def assert_only_shows(port: int, namespace: str) -> None:
    for action in ACTIONS:
        path = f"/schedules/{namespace}/visits/{action}"
        status, page, _ = ask(port, path)
        assert (status, "kubectl" in page, "<form" in page) == (200, True, False)
        assert ask(port, path, b"nonce=1&token=")[0] == 405
    assert ask(port, "/", b"x")[0] == 405
