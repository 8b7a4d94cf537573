"""kubectl, the CRD and a namespace, for tests of what the API server does with a SweepSchedule."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.kits.deadlines import scaled
from tests.kits.polling import eventually

CRD = Path(__file__).parents[2] / "manifests" / "crd.yaml"


def schedule(name: str, namespace: str = "", **spec: Any) -> dict[str, Any]:
    """A valid SweepSchedule; ``spec`` replaces fields."""
    return {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": {
            "every": "30s",
            "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "carts"},
            "match": [{"column": "status", "in": ["open"]}, {"column": "updated_at", "before": "now-1d2h"}],
            "write": {"delete": {}},
            **spec,
        },
    }


def kubectl(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl and return the process, whatever its exit code: many tests expect a refusal."""
    return subprocess.run(
        ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=scaled(120), check=False
    )


def kubectl_output(*words: str, stdin: str = "") -> str:
    """Run kubectl, which must succeed, and return what it prints."""
    ran = kubectl(*words, stdin=stdin)
    assert ran.returncode == 0, f"kubectl {' '.join(words)}: {ran.stderr}"
    return ran.stdout


def apply(document: dict[str, Any], *words: str) -> str:
    return kubectl_output("apply", *words, "-f", "-", stdin=yaml.safe_dump(document, sort_keys=False))


def read(what: str, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl_output("get", what, "-n", namespace, "-o", "json"))
    return found


def until_established(crd: str) -> None:
    """Wait until the API server serves a CRD. ``kubectl wait`` fails on a CRD that has no conditions yet."""

    def served() -> bool:
        status = json.loads(kubectl_output("get", "crd", crd, "-o", "json")).get("status") or {}
        return any((each["type"], each["status"]) == ("Established", "True") for each in status.get("conditions") or ())

    eventually(f"{crd} is served", 60, served)


@contextmanager
def namespace_with_crd() -> Iterator[str]:
    kubectl_output("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    until_established("sweepschedules.kubesweep.dev")
    name = f"crd-{uuid.uuid4().hex[:8]}"
    kubectl_output("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
