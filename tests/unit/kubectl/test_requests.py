"""Requests to an API server that refuses, is slow, forgets versions or is away; and kubeconfigs and logins that do not work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubectl_sweep.cluster.client import Cluster, connect
from kubectl_sweep.cluster.errors import ApiRefused, Forbidden, Unanswered, UnknownSchedule
from kubectl_sweep.cluster.kinds import JOBS, PODS, SCALEDOBJECTS, SCHEDULES, Ref
from kubectl_sweep.cluster.options import ClusterOptions
from kubesweep.errors import Outage, SpecError
from tests.kits.servers import free_port
from tests.unit.kubectl.api import Object, Request, page, serve, status, write_kubeconfig
from tests.unit.kubectl.objects import schedule

REF = Ref("shop", "close-idle")
Answer = Callable[[Request], tuple[int, Object | list[Object]]]


def cluster(folder: Path, url: str, **options: Any) -> Cluster:
    made = connect(ClusterOptions(kubeconfig=write_kubeconfig(folder, url), **options))
    return Cluster(made.transport, made.namespace, pause=lambda seconds: None)


def test_a_list_is_read_page_by_page(tmp_path: Path) -> None:
    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        first = "continue" not in request.query
        return page(schedule(meta={"name": "a" if first else "b"}), more="next" if first else "")

    with serve(answer) as api:
        found = cluster(tmp_path, api.url).schedules(None)
    assert [each["metadata"]["name"] for each in found] == ["a", "b"]
    assert [request.query.get("limit") for request in api.requests] == ["500", "500"]
    assert found[0]["kind"] == "SweepSchedule"


def test_the_login_and_the_impersonation_are_in_each_request(tmp_path: Path) -> None:
    with serve(lambda request: page()) as api:
        cluster(tmp_path, api.url, as_user="bob", as_groups=("a", "b")).schedules("shop")
    (request,) = api.requests
    assert request.headers["authorization"] == ["Bearer secret"]
    assert request.headers["impersonate-user"] == ["bob"]
    assert request.headers["impersonate-group"] == ["a", "b"]


@pytest.mark.parametrize(
    ("refused", "kind", "words"),
    [
        (status(401, "Unauthorized", "Unauthorized"), Outage, "refuses your login"),
        (status(429, "TooManyRequests", "too many requests"), Outage, "cannot answer now (too many requests)"),
        (status(500, "InternalError", "etcd is down"), Outage, "etcd is down"),
        (status(404, "NotFound", "the server could not find the requested resource"), SpecError, "Kubesweep is not installed in this cluster"),
        (status(400, "BadRequest", "unable to parse requirement"), ApiRefused, "unable to parse requirement"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(
    tmp_path: Path, refused: tuple[int, Object], kind: type[Exception], words: str
) -> None:
    with serve(lambda request: refused) as api, pytest.raises(kind) as raised:
        cluster(tmp_path, api.url).schedules("shop")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("act", "right"),
    [
        (lambda here: here.schedules(None), "list sweepschedules in all namespaces"),
        (lambda here: here.schedule("shop", "a"), "get sweepschedules in namespace shop"),
        (lambda here: here.annotate(REF, {"x": "1"}), "patch sweepschedules in namespace shop"),
        (lambda here: here.patch_spec(REF, {"suspend": True}), "patch sweepschedules in namespace shop"),
        (lambda here: list(here.logs("shop", "a")), "get pods/log in namespace shop"),
        (lambda here: here.create(JOBS, {"metadata": {"namespace": "shop"}}), "create jobs in namespace shop"),
        (lambda here: here.delete(JOBS, "shop", "a"), "delete jobs in namespace shop"),
        (lambda here: here.exec("shop", "a", "worker", ["true"]), "create pods/exec in namespace shop"),
    ],
)
def test_a_missing_right_is_named(tmp_path: Path, act: Callable[[Cluster], object], right: str) -> None:
    with serve(lambda request: status(403, "Forbidden", "it is forbidden")) as api, pytest.raises(Forbidden) as raised:
        act(cluster(tmp_path, api.url))
    assert str(raised.value).startswith(f"You need the right to {right}: docs/kubectl.md#rights.")
    assert "it is forbidden" in str(raised.value)


def test_an_impersonation_that_is_not_allowed_names_that_right(tmp_path: Path) -> None:
    said = 'users "bob" is forbidden: User "me" cannot impersonate resource "users"'
    with (
        serve(lambda request: status(403, "Forbidden", said, kind="users", name="bob")) as api,
        pytest.raises(Forbidden) as raised,
    ):
        cluster(tmp_path, api.url, as_user="bob").schedules("shop")
    assert "the right to impersonate users" in str(raised.value)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_policy_that_refuses_an_object_is_not_taken_for_a_missing_right(tmp_path: Path, allowed: bool) -> None:
    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        if request.path.endswith("selfsubjectaccessreviews"):
            return 201, {"status": {"allowed": allowed}}
        return status(403, "Forbidden", "exceeded quota: small")

    with serve(answer) as api, pytest.raises(ApiRefused if allowed else Forbidden, match="exceeded quota: small"):
        cluster(tmp_path, api.url).create(JOBS, {"metadata": {"namespace": "shop"}})
    assert api.requests[-1].body["spec"]["resourceAttributes"] == {
        "verb": "create", "group": "batch", "resource": "jobs", "subresource": "", "namespace": "shop",
    }  # fmt: skip


def known(*names: str) -> Answer:
    """Schedules of these names."""

    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        name = request.path.rpartition("/")[2]
        if name == "sweepschedules":
            return page(*(schedule(meta={"name": each}) for each in names))
        found = name in names and request.method == "GET"
        return (200, schedule(meta={"name": name})) if found else status(404, "NotFound", f"{name} not found")

    return answer


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("close-idle", "other"), "Did you mean close-idle? It has: close-idle, other."),
        ((), "The namespace has none."),
        (tuple(f"s{number:02}" for number in range(12)), "s09 and 2 more."),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with serve(known(*names)) as api, pytest.raises(UnknownSchedule) as raised:
        cluster(tmp_path, api.url).schedule("shop", "close-idel")
    assert str(raised.value).startswith("There is no schedule close-idel in namespace shop.")
    assert words in str(raised.value)


def test_who_may_not_list_schedules_learns_at_least_that_there_is_none(tmp_path: Path) -> None:
    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        one = not request.path.endswith("sweepschedules")
        return status(404, "NotFound", "not found") if one else status(403, "Forbidden", "cannot list")

    with serve(answer) as api, pytest.raises(UnknownSchedule) as raised:
        cluster(tmp_path, api.url).schedule("shop", "a")
    assert str(raised.value) == "There is no schedule a in namespace shop."


def test_a_command_for_an_unknown_name_gets_the_nearest_one_too(tmp_path: Path) -> None:
    with serve(known("close-idle")) as api, pytest.raises(UnknownSchedule, match="Did you mean close-idle"):
        cluster(tmp_path, api.url).annotate(Ref("shop", "close-idel"), {"x": "1"})


def test_objects_of_a_kind_that_the_cluster_lacks_are_none(tmp_path: Path) -> None:
    with serve(lambda request: status(404, "NotFound", "")) as api:
        here = cluster(tmp_path, api.url)
        assert here.get(SCALEDOBJECTS, "shop", "a") is None
        assert here.list(SCALEDOBJECTS, "shop") == []
        assert here.delete(PODS, "shop", "a") is False


def test_a_patch_merges_and_null_removes(tmp_path: Path) -> None:
    with serve(lambda request: (200, schedule())) as api:
        cluster(tmp_path, api.url).annotate(REF, {"a": "1", "b": None})
    (request,) = api.requests
    assert (request.method, request.path) == ("PATCH", SCHEDULES.path(*REF))
    assert request.body == {"metadata": {"annotations": {"a": "1", "b": None}}}
    assert request.headers["content-type"] == ["application/merge-patch+json"]
    assert request.query == {"fieldManager": "kubectl-sweep"}


def event(kind: str, version: str, **status_fields: Any) -> Object:
    return {"type": kind, "object": schedule(meta={"resourceVersion": version}, **status_fields)}


def watching(*watches: list[Object] | tuple[int, Object]) -> Answer:
    """A list of one schedule at version 10, and one answer for each watch."""
    left = list(watches)

    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        if "watch" not in request.query:
            return page(schedule())
        found = left.pop(0)
        return (200, found) if isinstance(found, list) else found

    return answer


def test_a_watch_goes_on_where_the_server_ended_it(tmp_path: Path) -> None:
    with serve(watching([event("MODIFIED", "11")], [event("BOOKMARK", "15")], [event("MODIFIED", "16")])) as api:
        found = cluster(tmp_path, api.url).watch(REF, 60)
        versions = [next(found)["metadata"]["resourceVersion"] for _ in range(3)]
    assert versions == ["5", "11", "16"]
    assert [request.query.get("resourceVersion") for request in api.requests] == [None, "10", "11", "15"]
    assert api.requests[1].query["fieldSelector"] == "metadata.name=close-idle"


GONE = {"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}


@pytest.mark.parametrize("gone", [[GONE], status(410, "Expired", "too old resource version")])
def test_a_watch_lists_again_when_the_server_forgot_its_version(tmp_path: Path, gone: Any) -> None:
    with serve(watching(gone, [event("MODIFIED", "21")])) as api:
        found = cluster(tmp_path, api.url).watch(REF, 60)
        versions = [next(found)["metadata"]["resourceVersion"] for _ in range(3)]
    assert versions == ["5", "5", "21"]


def test_a_watch_of_a_schedule_that_is_deleted_ends_with_an_error(tmp_path: Path) -> None:
    with serve(watching([event("DELETED", "11")])) as api:
        found = cluster(tmp_path, api.url).watch(REF, 60)
        next(found)
        with pytest.raises(UnknownSchedule, match="was deleted"):
            next(found)


def test_an_answer_is_awaited_in_the_status(tmp_path: Path) -> None:
    given = {"command": "Trigger", "nonce": "n", "outcome": "Done", "sweep": "9f"}
    with serve(watching([event("MODIFIED", "11"), event("MODIFIED", "12", answers=[given])])) as api:
        assert cluster(tmp_path, api.url).answer(REF, "trigger", "n", 60) == given


def test_a_command_that_nobody_answers_says_how_to_find_out_why(tmp_path: Path) -> None:
    with serve(watching()) as api, pytest.raises(Unanswered) as raised:
        cluster(tmp_path, api.url).answer(REF, "trigger", "n", 0.0)
    assert "kubectl sweep why close-idle -n shop" in str(raised.value)


def test_a_log_is_read_line_by_line(tmp_path: Path) -> None:
    with serve(lambda request: (200, [{"a": 1}, {"b": 2}])) as api:
        here = cluster(tmp_path, api.url)
        assert list(here.logs("shop", "p", "worker", since=90, tail=5, previous=True)) == [b'{"a": 1}', b'{"b": 2}']
    assert api.requests[0].query == {"container": "worker", "sinceSeconds": "90", "tailLines": "5", "previous": "true"}


def test_a_silent_server_is_reported_after_the_request_timeout(tmp_path: Path) -> None:
    with serve(lambda request: page()) as api:
        api.silent.set()
        with pytest.raises(Outage, match=r"does not answer within 0\.2 s"):
            cluster(tmp_path, api.url, request_timeout=0.2).schedules("shop")


def test_a_server_that_does_not_exist_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(Outage, match=r"cannot be reached: .*refused"):
        cluster(tmp_path, f"http://127.0.0.1:{free_port()}").schedules("shop")


def test_a_server_without_tls_is_named(tmp_path: Path) -> None:
    with serve(lambda request: page()) as api, pytest.raises(Outage, match="No TLS connection"):
        cluster(tmp_path, api.url.replace("http:", "https:")).schedules("shop")


def test_a_reader_that_closes_the_pipe_ends_the_list_without_a_word(tmp_path: Path) -> None:
    many = [schedule(meta={"name": f"s{number:04}"}) for number in range(2000)]
    with serve(lambda request: page(*many)) as api:
        file = write_kubeconfig(tmp_path, api.url)
        command = f"{sys.executable} -m kubectl_sweep get --kubeconfig {file} | head -2"
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr, len(ran.stdout.splitlines())) == (0, "", 2)


def test_a_watch_ends_when_its_reader_is_gone(tmp_path: Path) -> None:
    versions = iter(range(11, 10_000))

    def answer(request: Request) -> tuple[int, Object | list[Object]]:
        return (200, [event("MODIFIED", str(next(versions)))]) if "watch" in request.query else page(schedule())

    with serve(answer) as api:
        command = (
            f"{sys.executable} -m kubectl_sweep get -w --kubeconfig {write_kubeconfig(tmp_path, api.url)} | head -1"
        )
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr, len(ran.stdout.splitlines())) == (0, "", 1)
