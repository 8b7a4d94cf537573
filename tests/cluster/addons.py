"""The cluster's add-ons: CoreDNS and KEDA as pods, and persistent volumes."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template

from tests.cluster.testbed import DNS_SERVICE, HERE, Bed, run, step

DEPLOYMENTS = {"kube-system": ["coredns"], "keda": ["keda-operator", "keda-metrics-apiserver"]}
VOLUMES = 40
METRICS = "v1beta1.external.metrics.k8s.io"


def kubectl(bed: Bed, *words: str | Path, stdin: str | None = None) -> str:
    return run("env", f"KUBESWEEP_CLUSTER={bed.name}", HERE / "exec", "kubectl", *words, stdin=stdin)


def apply(bed: Bed) -> None:
    for text in (_coredns(bed), _storage(bed), _keda(bed)):
        kubectl(bed, "apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=text)


def wait(bed: Bed) -> None:
    for node in bed.nodes:
        with step(f"{node.name} is Ready"):
            kubectl(bed, "wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=120s")
    for namespace, names in DEPLOYMENTS.items():
        for name in names:
            with step(f"{namespace}/{name} is rolled out"):
                kubectl(bed, "rollout", "status", "--namespace", namespace, f"deployment/{name}", "--timeout=180s")
    with step("external metrics answer"):
        kubectl(bed, "wait", "--for=condition=Available", f"apiservice/{METRICS}", "--timeout=120s")


def _version(bed: Bed, tool: str) -> str:
    return Path(bed.tool(tool)).resolve().name.removeprefix(f"{tool}-v")


def _coredns(bed: Bed) -> str:
    return _fill_in("coredns.yaml", version=_version(bed, "coredns"), dns=DNS_SERVICE)


def _storage(bed: Bed) -> str:
    """The persistent volumes for a run, all on the first node. A volume that was claimed once is not used again."""
    texts = [_fill_in("storage.yaml")]
    for number in range(VOLUMES):
        path = bed.folder / "volumes" / str(number)
        path.mkdir(parents=True, exist_ok=True)
        texts.append(_fill_in("volume.yaml", name=f"volume-{number}", path=str(path), node=bed.nodes[0].name))
    return "---\n".join(texts)


def _keda(bed: Bed) -> str:
    version = _version(bed, "keda-operator")
    minor = version.rpartition(".")[0]
    module = run("env", f"KEDA={minor}", HERE / "build", "--source", "keda").strip()
    folder = bed.folder / "keda"
    folder.mkdir(exist_ok=True)
    config = os.path.relpath(Path(module) / "config", folder)
    (folder / "kustomization.yaml").write_text(_fill_in("keda.yaml", config=config, version=version))
    return kubectl(bed, "kustomize", folder)


def _fill_in(file: str, **words: str) -> str:
    return Template((HERE / "manifests" / file).read_text()).substitute(words)
