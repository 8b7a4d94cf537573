"""Renders the chart with the `helm` program and finds objects in the result."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.install_manifest import helm as binary

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "kubesweep"
PRESETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))

RELEASE, NAMESPACE = "ks", "kubesweep-system"
CLUSTER_SCOPED = frozenset({"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})

VERSIONS = ("1.33", "1.34", "1.35", "1.36")
CUSTOM_KINDS = {"SweepSchedule", "ServiceMonitor", "PodMonitor", "PrometheusRule"}

Object = dict[str, Any]


class Refused(Exception):
    """Helm failed; the text is its error."""


def helm(*words: str) -> str:
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    ran = subprocess.run([binary(), *words], capture_output=True, text=True, check=False, env=environment)
    if ran.returncode != 0:
        raise Refused(ran.stderr)
    return ran.stdout


@cache
def text(
    preset: str = "default", *sets: str, release: str = RELEASE, namespace: str = NAMESPACE, json: str = ""
) -> str:
    """The output of ``helm template`` for ci/PRESET-values.yaml. ``sets`` are ``key=value``, ``json`` is for --set-json."""
    words = ["template", release, str(CHART), "--namespace", namespace, "--values", str(values_file(preset))]
    words += [word for one in sets for word in ("--set", one)]
    words += ["--set-json", json] if json else []
    return helm(*words)


def render(preset: str = "default", *sets: str, **rest: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text(preset, *sets, **rest)) if document]


def values_file(preset: str) -> Path:
    return CHART / "ci" / f"{preset}-values.yaml"


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of this kind and, if given, this name."""
    [found] = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    return found


def kinds(objects: list[Object], *wanted: str) -> list[Object]:
    return [o for o in objects if o["kind"] in wanted]


def is_hook(o: Object) -> bool:
    return "helm.sh/hook" in o["metadata"].get("annotations", {})


def identity(o: Object, namespace: str = NAMESPACE) -> tuple[str, str, str]:
    """Kind, namespace and name, which are unique in a cluster."""
    home = "" if o["kind"] in CLUSTER_SCOPED else o["metadata"].get("namespace", namespace)
    return (o["kind"], home, o["metadata"]["name"])


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """(kind/name, pod spec) of each Pod and each object with a pod template."""
    for o in objects:
        where = f"{o['kind']}/{o['metadata']['name']}"
        if o["kind"] == "Pod":
            yield where, o["spec"]
        elif "template" in o.get("spec", {}):
            yield where, o["spec"]["template"]["spec"]


def environment(objects: list[Object]) -> dict[str, str]:
    """The controller's environment variables; empty where the value comes from a Secret or a field."""
    [deployment] = kinds(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
