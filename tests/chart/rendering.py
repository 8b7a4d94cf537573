"""The chart as its users meet it: through the `helm` program, one call for each rendering."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.install_manifest import helm as binary

HOUSE = Path(__file__).parents[2]
CHART = HOUSE / "charts" / "kubesweep"
WAYS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))

RELEASE, NAMESPACE = "ks", "kubesweep-system"
CLUSTER_SCOPED = frozenset({"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})

Object = dict[str, Any]


class Refused(Exception):
    """Helm's own words."""


def helm(*words: str) -> str:
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    ran = subprocess.run([binary(), *words], capture_output=True, text=True, check=False, env=environment)
    if ran.returncode != 0:
        raise Refused(ran.stderr)
    return ran.stdout


@cache
def text(way: str = "default", *sets: str, release: str = RELEASE, namespace: str = NAMESPACE, json: str = "") -> str:
    """What ``helm template`` prints for ci/WAY-values.yaml. ``sets`` are ``key=value``, ``json`` is for --set-json."""
    words = ["template", release, str(CHART), "--namespace", namespace, "--values", str(values_file(way))]
    words += [word for one in sets for word in ("--set", one)]
    words += ["--set-json", json] if json else []
    return helm(*words)


def render(way: str = "default", *sets: str, **rest: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text(way, *sets, **rest)) if document]


def values_file(way: str) -> Path:
    return CHART / "ci" / f"{way}-values.yaml"


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of the kind (and name)."""
    [found] = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    return found


def kinds(objects: list[Object], *wanted: str) -> list[Object]:
    return [o for o in objects if o["kind"] in wanted]


def is_hook(o: Object) -> bool:
    return "helm.sh/hook" in o["metadata"].get("annotations", {})


def identity(o: Object, namespace: str = NAMESPACE) -> tuple[str, str, str]:
    """What may be in a cluster once: kind, namespace, name."""
    home = "" if o["kind"] in CLUSTER_SCOPED else o["metadata"].get("namespace", namespace)
    return (o["kind"], home, o["metadata"]["name"])


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """(kind/name, pod spec) of each object that starts pods."""
    for o in objects:
        where = f"{o['kind']}/{o['metadata']['name']}"
        if o["kind"] == "Pod":
            yield where, o["spec"]
        elif "template" in o.get("spec", {}):
            yield where, o["spec"]["template"]["spec"]


def environment(objects: list[Object]) -> dict[str, str]:
    """The controller's environment, as far as it has values."""
    [deployment] = kinds(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
