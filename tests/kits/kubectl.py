"""kubectl, the CRD and a namespace, for tests of what the API server itself makes of a SweepSchedule."""

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
    """A valid one; ``spec`` replaces what it says."""
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
    """Whatever becomes of it: refusals are what these tests are about."""
    return subprocess.run(
        ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=scaled(120), check=False
    )


def done(*words: str, stdin: str = "") -> str:
    ran = kubectl(*words, stdin=stdin)
    assert ran.returncode == 0, f"kubectl {' '.join(words)}: {ran.stderr}"
    return ran.stdout


def apply(document: dict[str, Any], *words: str) -> str:
    return done("apply", *words, "-f", "-", stdin=yaml.safe_dump(document, sort_keys=False))


def read(what: str, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("get", what, "-n", namespace, "-o", "json"))
    return found


def established(crd: str) -> None:
    """Returns when the API server serves a CRD. ``kubectl wait`` fails on one that has no conditions yet."""

    def served() -> bool:
        status = json.loads(done("get", "crd", crd, "-o", "json")).get("status") or {}
        return any((each["type"], each["status"]) == ("Established", "True") for each in status.get("conditions") or ())

    eventually(f"{crd} is served", 60, served)


@contextmanager
def namespace_with_crd() -> Iterator[str]:
    done("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    established("sweepschedules.kubesweep.dev")
    name = f"crd-{uuid.uuid4().hex[:8]}"
    done("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
