"""Installations for all namespaces, by Helm and by kubectl alone, and a cluster without KEDA.

They run alone (shards.py): the cluster must have no other controller and no other schedule.
"""

from __future__ import annotations

import secrets
import subprocess

import pytest
import yaml

from tests.cluster import addons
from tests.cluster.testbed import REPOSITORY, Bed
from tests.e2e.test_chart_rbac import controller_requests
from tests.kits.kube_client import Cluster, Namespace, Object
from tests.kits.releases import NAMESPACED, SCHEDULE, Release, apply, ready, sqlite_schedule, swept, temporary_namespace

CRDS = "apiextensions.k8s.io/v1 CustomResourceDefinition"
CRD = REPOSITORY / "manifests" / "crd.yaml"
INSTALL = REPOSITORY / "manifests" / "install.yaml"


def test_a_release_for_all_namespaces_can_be_reinstalled(cluster: Cluster, namespace: Namespace) -> None:
    release = Release(namespace)
    release.install({}, "--take-ownership")  # earlier tests applied the CRD by hand
    with temporary_namespace(cluster, "made-later") as home:
        apply(home, sqlite_schedule("visits"))
        home.until(SCHEDULE, "visits", swept(1), what="its row is swept", patience=120)
        assert "one row swept" in release.test()
        release.uninstall()
        kept = home.get(SCHEDULE, "visits")
        assert kept is not None, "crds.keep leaves the schedules"
        release.install({})
        home.kubectl("annotate", "sweepschedule", "visits", "kubesweep.dev/trigger=again", "--overwrite")
        first = kept["status"]["lastSweep"]["id"]
        home.until(
            SCHEDULE,
            "visits",
            lambda found: swept(1)(found) and found["status"]["lastSweep"]["id"] != first,
            what="the reinstalled controller sweeps it again, from an empty queue",
            patience=120,
        )
    release.uninstall()


def test_without_crds_keep_an_uninstall_deletes_the_schedules_and_their_workers(
    cluster: Cluster, namespace: Namespace
) -> None:
    release = Release(namespace)
    cluster.apply(
        CRD.read_text().replace("Always SweepSchedule.", "SweepSchedule.")
    )  # a CRD of another version, applied by hand
    release.install({"crds.keep": "false"}, "--take-ownership", "--force-conflicts")
    with temporary_namespace(cluster, "not-kept") as home:
        apply(home, sqlite_schedule("visits"))
        home.until(SCHEDULE, "visits", swept(1), what="its row is swept", patience=120)
        release.uninstall()
        name = "sweepschedules.kubesweep.dev"
        cluster.until(CRDS, lambda left: not left, what="the CRD is gone", name=name)
        for kind in ("apps/v1 Deployment", "keda.sh/v1alpha1 ScaledObject", "keda.sh/v1alpha1 TriggerAuthentication"):
            home.until_gone(kind, "visits-worker")
        release.install({})
        apply(home, sqlite_schedule("visits"))
        home.until(SCHEDULE, "visits", swept(1), what="its row is swept again", patience=120)
    release.uninstall()


def test_kubectl_alone_installs_it_and_the_samples_are_accepted(cluster: Cluster) -> None:
    objects = [each for each in yaml.safe_load_all(INSTALL.read_text()) if each]
    home = Namespace(cluster, objects[0]["metadata"]["name"])
    try:
        home.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD), "-f", str(INSTALL))
        word = f"--from-literal=password={secrets.token_urlsafe(24)}"
        home.kubectl("create", "secret", "generic", "kubesweep-redis", word)
        home.rolled_out("kubesweep", patience=180)
        with temporary_namespace(cluster, "plain") as shop:
            apply(shop, sqlite_schedule("visits"))
            shop.until(SCHEDULE, "visits", swept(1), what="its row is swept", patience=120)
            shop.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "manifests" / "samples"))
            found = shop.until(SCHEDULE, "close-abandoned-carts", unreachable, what="its status names the unknown host")
            assert not ready(found)
    finally:
        subprocess.run(["kubectl", "delete", "--ignore-not-found", "-f", str(INSTALL)], check=True, capture_output=True)


def unreachable(found: Object) -> bool:
    """Whether a condition names the samples' database, which does not exist."""
    return "postgres.shop.svc" in str(found.get("status"))


@pytest.mark.bed
def test_without_keda_rows_are_swept_and_keda_is_used_once_installed(cluster: Cluster, namespace: Namespace) -> None:
    cluster.apply(CRD.read_text())
    release = Release(namespace)
    try:
        remove_keda(cluster)
        assert "KEDA is not installed" in release.install(NAMESPACED)
        assert "one row swept" in release.test()
        apply(namespace, sqlite_schedule("visits"))
        found = namespace.until(SCHEDULE, "visits", swept(1), what="its row is swept", patience=120)
        assert autoscaling(found) == ("False", "KedaMissing")
        scaled = [each for each in controller_requests(namespace, release) if each.resource.endswith("/scale")]
        assert {(each.verb, each.code) for each in scaled} == {("patch", 200)}
    finally:
        addons.apply(Bed.selected())
        addons.wait(Bed.selected())
    namespace.until(
        SCHEDULE, "visits", lambda each: autoscaling(each)[0] == "True", what="KEDA scales it", patience=120
    )
    worker = "apps/v1 Deployment"
    namespace.until(
        worker,
        "visits-worker",
        lambda each: not each["spec"].get("replicas"),
        what="it is scaled to zero",
        patience=120,
    )


def remove_keda(cluster: Cluster) -> None:
    """Delete KEDA and its CRDs. Objects of earlier tests must be gone first, because only KEDA removes its finalizers."""
    for kind in ("ScaledObject", "TriggerAuthentication"):
        cluster.until(f"keda.sh/v1alpha1 {kind}", lambda left: not left, what=f"no {kind} is left", patience=120)
    for name in addons.DEPLOYMENTS["keda"]:
        cluster.delete("apps/v1 Deployment", name, "keda")
    for each in cluster.all(CRDS):
        name = each["metadata"]["name"]
        if name.endswith(".keda.sh"):
            cluster.delete(CRDS, name)
            cluster.until(CRDS, lambda left: not left, what=f"{name} is gone", name=name)


def autoscaling(found: Object) -> tuple[str, str]:
    for each in found.get("status", {}).get("conditions", []):
        if each["type"] == "Autoscaling":
            return each["status"], each["reason"]
    return "", ""
