"""The chart grants exactly the rights that the controller uses.

One release goes through everything that makes a controller act. Then the audit log is compared with the rights in tests/chart/test_rbac.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chart.test_rbac import HOME, RIGHTS
from tests.cluster.testbed import REPOSITORY
from tests.kits.audit_log import Request, requests
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import NAMESPACED, SCHEDULE, Release, apply, ready, sqlite_schedule, swept

pytestmark = pytest.mark.bed
WITHOUT_KEDA = ("apps", "deployments/scale", "")  # used without KEDA only: test_chart_cluster.py
NAMED = {name for _, _, name in (*RIGHTS, *HOME) if name}


def test_each_right_is_used_and_none_is_missing(cluster: Cluster, namespace: Namespace) -> None:
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())
    release = Release(namespace)
    release.install(NAMESPACED)
    exercise(namespace, release)
    used: dict[tuple[str, str, str], set[str]] = {}
    refused = []
    for each in controller_requests(namespace, release):
        if each.code == 403:
            refused.append(str(each))
        verb = "create" if (each.verb, each.code) == ("patch", 201) else each.verb
        name = each.name if verb not in ("create", "list", "watch") else ""
        key = each.group, each.resource, name if name in NAMED else ""
        used.setdefault(key, set()).add(verb)
    assert refused == []
    assert used == {key: verbs for key, verbs in (RIGHTS | HOME).items() if key != WITHOUT_KEDA}


def exercise(namespace: Namespace, release: Release) -> None:
    """Make the controller use each of its rights."""
    apply(namespace, sqlite_schedule("one"))
    namespace.until(SCHEDULE, "one", swept(1), what="its row is swept", patience=120)
    exercise_edits(namespace)
    apply(namespace, sqlite_schedule("stuck", worker={"image": "ghcr.io/kubesweep/none:0", "minReplicas": 1}))
    namespace.until(
        SCHEDULE,
        "stuck",
        lambda found: "none:0" in str(found.get("status")),
        what="its status names the image",
        patience=120,
    )
    edit(namespace, '{"spec": {"secretTargetRef": []}}', "triggerauthentication", "one-worker")
    leader = release.leader()  # the next leader takes the Lease and writes the queue's Secret again
    namespace.delete("v1 Pod", leader)
    namespace.until_gone("v1 Pod", leader)
    namespace.rolled_out(release.fullname)
    namespace.until(
        "keda.sh/v1alpha1 TriggerAuthentication",
        "one-worker",
        lambda a: bool(a["spec"]["secretTargetRef"]),
        what="it is restored",
    )
    edit(namespace, '{"spec": {"limits": {"batchRows": 7}}}')
    namespace.until(SCHEDULE, "one", ready, what="the new leader serves it", patience=120)


def edit(namespace: Namespace, patch: str, kind: str = "sweepschedule", name: str = "one") -> None:
    namespace.kubectl("patch", kind, name, "--type=merge", "--patch", patch)


def exercise_edits(namespace: Namespace) -> None:
    """Edit the schedule so that each of its children is created, changed and deleted, and trigger it."""
    edit(namespace, '{"spec": {"every": null, "schedule": "0 0 1 1 *"}}')
    namespace.until("batch/v1 CronJob", "one-tick", lambda _: True, what="a CronJob ticks")
    edit(namespace, '{"spec": {"schedule": "1 1 1 1 *"}}')
    namespace.until(
        "batch/v1 CronJob", "one-tick", lambda found: found["spec"]["schedule"] == "1 1 1 1 *", what="the new cron"
    )
    edit(namespace, '{"spec": {"schedule": null, "every": "24h"}}')
    namespace.until_gone("batch/v1 CronJob", "one-tick")
    edit(namespace, '{"spec": {"worker": {"maxReplicas": 3}}}')
    namespace.until("keda.sh/v1alpha1 ScaledObject", "one-worker", replicas(3), what="it may have three workers")
    for nonce in ("second", "third"):
        namespace.kubectl("annotate", "sweepschedule", "one", f"kubesweep.dev/trigger={nonce}", "--overwrite")
        namespace.until(SCHEDULE, "one", handled(nonce), what=f"{nonce} is handled", patience=120)
        namespace.until(SCHEDULE, "one", swept(), what="and swept", patience=120)


def controller_requests(namespace: Namespace, release: Release) -> list[Request]:
    """The controller's requests to the API server, without discovery."""
    user = f"system:serviceaccount:{namespace.name}:{release.fullname}"
    return [each for each in requests("", user) if each.user == user and each.resource]


def replicas(most: int) -> Callable[[Object], bool]:
    return lambda found: found["spec"]["maxReplicaCount"] == most


def handled(nonce: str) -> Callable[[Object], bool]:
    return lambda found: found.get("status", {}).get("handled", {}).get("trigger") == nonce
