"""What a schedule becomes in the cluster: pure builders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubesweep import load_object
from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.plan import Plan
from kubesweep_controller.children.names import inherited, with_labels
from kubesweep_controller.children.observed import ObservedChild, observe_child
from kubesweep_controller.children.overlay import merge, without_empty
from kubesweep_controller.children.pod import PLAN_VARIABLE
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.children.scaling import build_scaledobject, build_trigger_authentication
from kubesweep_controller.children.secret import NamespaceCredentials, build_secret
from kubesweep_controller.children.workloads import build_cronjob, build_deployment, fixed_replicas, with_zero_replicas
from kubesweep_controller.queue_address import QueueAddress
from kubesweep_controller.reconcile.ensure_children import plan_to_run

META = {"name": "carts", "namespace": "shop", "uid": "8b5f6f0e-0000-4000-8000-000000000001", "generation": 3}
SINCE = "2027-01-15T08:00:03Z"
PODS = PodSettings("worker:1")
URL = "redis://redis.kubesweep.svc:6379/0?password_file=/run/kubesweep/admin/password"
SPEC: dict[str, Any] = {
    "schedule": "*/5 * * * *",
    "source": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}, "table": "carts"},
    "match": [{"column": "updated_at", "before": "now-24h"}],
    "write": {"update": [{"column": "status", "value": "abandoned"}]},
}


def schedule(**spec: Any) -> SweepSchedule:
    return load_object(
        {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": META, "spec": SPEC | spec}
    )


def plan(made: SweepSchedule) -> Plan:
    return compile_plan(made, install="abcd1234")


def deployment(pods: PodSettings = PODS, **spec: Any) -> dict[str, Any]:
    made = schedule(**spec)
    return build_deployment(META, made, plan(made), QueueAddress.of(URL).pod_url("ks"), pods)


def cronjob(pods: PodSettings = PODS, **spec: Any) -> dict[str, Any]:
    made = schedule(**spec)
    return build_cronjob(META, made, plan(made), QueueAddress.of(URL).pod_url("ks"), pods, SINCE)


def seen(made: Plan) -> ObservedChild:
    """The Deployment that runs this plan."""
    body = deployment()
    body["metadata"]["uid"] = "u"
    env = [{"name": PLAN_VARIABLE, "value": made.to_json()}]
    body["spec"]["template"]["spec"]["containers"] = [{"env": env}]
    return observe_child(body)


def worker_of(made: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = made["spec"]["template"]["spec"]["containers"]
    return next(each for each in containers if each["name"] == "worker")


def producer_of(made: dict[str, Any]) -> dict[str, Any]:
    [container] = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def env_of(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def empty_lists(value: Any, path: str = "") -> Iterator[str]:
    if value in ([], None):
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from empty_lists(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from empty_lists(inner, f"{path}[{index}]")


def scaled(url: str, *, scale_to_zero: bool = False, **spec: Any) -> dict[str, Any]:
    made = schedule(**spec)
    return build_scaledobject(META, made, plan(made).ref, QueueAddress.of(url), 5, scale_to_zero=scale_to_zero)


def test_every_child_belongs_to_its_schedule_and_blocks_no_deletion() -> None:
    made = schedule()
    queue = QueueAddress.of(URL)
    auth = build_trigger_authentication(META, "carts", queue)
    for child in (deployment(), cronjob(), scaled(URL), auth):
        [owner] = child["metadata"]["ownerReferences"]
        assert owner["uid"] == META["uid"]
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False
        assert child["metadata"]["labels"]["kubesweep.dev/schedule"] == "carts"
        assert child["metadata"]["namespace"] == "shop"
    assert made.metadata.name == "carts"


def test_no_child_has_an_empty_list_or_a_null() -> None:
    for child in (
        deployment(),
        cronjob(),
        scaled(URL),
        deployment(worker={"env": [], "podTemplate": {"spec": {"tolerations": []}}}),
    ):
        assert list(empty_lists(child)) == []


def test_the_deployment_has_no_replicas_and_is_created_with_zero() -> None:
    assert "replicas" not in deployment()["spec"]
    born = with_zero_replicas(deployment())
    assert born["spec"].pop("replicas") == 0
    assert born == deployment()


def test_the_cronjob_only_fires_and_leaves_overlap_and_lateness_to_the_queue() -> None:
    spec = cronjob(timeZone="America/Sao_Paulo", suspend=True, startingDeadlineSeconds=90)["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["timeZone"] == "America/Sao_Paulo"
    assert spec["suspend"] is True
    assert "startingDeadlineSeconds" not in spec
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_children_carry_the_labels_of_the_release_and_the_chosen_ones_of_their_schedule() -> None:
    owner = {"labels": {"team": "data", "argocd.argoproj.io/instance": "x", "kubesweep.dev/schedule": "other"}}
    more = inherited(owner, {"cost": "7"}, ("team", "absent", "kubesweep.dev/schedule"))
    for body in (deployment(), cronjob(), scaled(URL)):
        with_labels(body, more)
        found = body["metadata"]["labels"]
        assert (found["team"], found["cost"], found["kubesweep.dev/schedule"]) == ("data", "7", "carts")
    made = with_labels(deployment(), more)["spec"]
    assert made["template"]["metadata"]["labels"]["team"] == "data"
    assert "team" not in made["selector"]["matchLabels"]
    assert (
        with_labels(cronjob(), more)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["team"] == "data"
    )


def test_without_keda_there_is_always_a_worker() -> None:
    assert fixed_replicas(schedule()) == 1
    assert fixed_replicas(schedule(worker={"minReplicas": 3})) == 3


def test_keda_counts_the_stream_and_starts_one_worker_for_delayed_retries() -> None:
    spec = scaled(URL, worker={"jobsPerReplica": 7, "cooldown": "90s", "minReplicas": 1, "maxReplicas": 9})["spec"]
    workqueue, delayed = spec["triggers"]
    prefix = "{ks:abcd1234/shop/carts/8b5f6f0e}"
    assert workqueue == {
        "type": "redis-streams",
        "metadata": {
            "address": "redis.kubesweep.svc:6379",
            "stream": f"{prefix}:work",
            "streamLength": "7",
            "activationLagCount": "0",
        },
        "authenticationRef": {"name": "carts-worker"},
    }
    marker = {"stream": f"{prefix}:marker", "streamLength": "1000000"}
    assert delayed == {**workqueue, "metadata": {**workqueue["metadata"], **marker}}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["cooldownPeriod"]) == (1, 9, 90)
    assert spec["scaleTargetRef"] == {"name": "carts-worker"}


@pytest.mark.parametrize(
    ("url", "scaler", "more"),
    [
        ("rediss://h:1/2", "redis-streams", {"address": "h:1", "databaseIndex": "2", "enableTLS": "true"}),
        (
            "redis+sentinel://u:p@a:1,b:2/main?db=3&sentinel_username=s",
            "redis-sentinel-streams",
            {"addresses": "a:1,b:2", "sentinelMaster": "main", "databaseIndex": "3", "sentinelUsername": "s"},
        ),
        ("redis+cluster://a:1,[::1]:2", "redis-cluster-streams", {"addresses": "a:1,[::1]:2"}),
        (
            "rediss://h:1?ssl_cert_reqs=none",
            "redis-streams",
            {"address": "h:1", "enableTLS": "true", "unsafeSsl": "true"},
        ),
    ],
)
def test_each_kind_of_server_has_its_scaler(url: str, scaler: str, more: dict[str, str]) -> None:
    triggers = scaled(url)["spec"]["triggers"]
    assert [each["type"] for each in triggers] == [scaler, scaler]
    for each in triggers:
        own = {"stream", "streamLength", "activationLagCount"}
        text = {name: value for name, value in each["metadata"].items() if name not in own}
        assert text == more


def test_scaled_to_zero_there_is_no_worker_whatever_waits() -> None:
    assert scaled(URL, scale_to_zero=True)["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    assert "annotations" not in scaled(URL)["metadata"]


def test_the_secret_has_both_credentials_and_certificates_if_there_are_any() -> None:
    secret = build_secret("shop", NamespaceCredentials("ks", "p", "keda", "q"), "", "")
    assert secret["data"] == {
        "username": "a3M=",
        "password": "cA==",
        "kedaUsername": "a2VkYQ==",
        "kedaPassword": "cQ==",
    }
    assert "ownerReferences" not in secret["metadata"]
    assert set(build_secret("shop", NamespaceCredentials("", "", "", ""), "ca", "s")["data"]) == {
        *secret["data"],
        "ca.crt",
        "sentinelPassword",
    }
    names = {
        each["key"]
        for each in build_trigger_authentication(META, "carts", QueueAddress.of(URL))["spec"]["secretTargetRef"]
    }
    assert names == {"kedaUsername", "kedaPassword"}


def test_merging_knows_lists_with_names_from_others() -> None:
    base = {"env": [{"name": "a", "value": "1"}, {"name": "b"}], "args": ["x", "y"], "gone": 1, "map": {"k": 1}}
    over = {"env": [{"name": "c"}, {"name": "a", "value": "2"}], "args": ["z"], "gone": None, "map": {"l": 2}}
    assert merge(base, over) == {
        "env": [{"name": "a", "value": "2"}, {"name": "b"}, {"name": "c"}],
        "args": ["z"],
        "map": {"k": 1, "l": 2},
    }
    assert merge({"containers": [{"name": "a"}]}, {"containers": "nonsense"}) == {"containers": "nonsense"}
    assert merge({"ports": [{"containerPort": 1}]}, {"ports": [3]}) == {"ports": [3]}


def test_empty_maps_stay_and_empty_lists_go() -> None:
    assert without_empty({"a": [], "b": {}, "c": [{"d": [], "e": 1}], "f": None}) == {"b": {}, "c": [{"e": 1}]}


def test_the_plan_in_the_pods_is_json_of_a_moderate_size() -> None:
    assert len(json.dumps(env_of(worker_of(deployment()))["KUBESWEEP_PLAN"])) < 4096


def test_an_edit_that_changes_nothing_for_a_worker_restarts_none_and_one_of_its_pace_does() -> None:
    runs = compile_plan(schedule(), generation=3)
    same = compile_plan(schedule(timeZone="Europe/Berlin"), generation=4)
    assert plan_to_run(same, seen(runs)) == runs
    assert plan_to_run(runs, seen(runs)) is runs  # thousands of them are kept, so not as copies
    faster = compile_plan(schedule(worker={"maxReplicas": 9}), generation=4)
    assert plan_to_run(faster, seen(runs)) == faster
    assert faster.version.same(runs.version)
