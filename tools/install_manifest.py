"""manifests/install.yaml: the rendered chart, for installations with kubectl alone. Needs the ``helm`` of the test bed.

The CRD is in a separate file. Metadata that only Helm reads is left out. So is the queue's password: the user creates that Secret.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "manifests" / "install.yaml"
NAMESPACE = "kubesweep-system"
VALUES = ("crds.enabled=false", "tests.enabled=false", "redis.existingSecret=kubesweep-redis")
HEAD = f"""\
# Kubesweep for kubectl: the controller and its queue, for all namespaces. Made by `make generate` from charts/kubesweep.
#   kubectl apply --server-side -f manifests/crd.yaml -f manifests/install.yaml
#   kubectl -n {NAMESPACE} create secret generic kubesweep-redis --from-literal=password="$(head -c 24 /dev/urandom | base64)"
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
_HELMS = re.compile(
    r"^ *(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm|# Source: .*)\n|^# Source: .*\n", re.MULTILINE
)


@cache
def helm() -> str:
    """The path of the helm that the test bed builds, or of the one that HELM names."""
    if named := os.environ.get("HELM"):
        return named
    build = str(ROOT / "tests" / "cluster" / "build")
    subprocess.run([build, "helm"], check=True, stdin=subprocess.DEVNULL)
    listed = subprocess.run([build, "--paths"], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(listed[::2], listed[1::2], strict=True))["helm"]


def manifest() -> str:
    command = [helm(), "template", "kubesweep", str(ROOT / "charts" / "kubesweep"), "--namespace", NAMESPACE]
    command += [word for value in VALUES for word in ("--set", value)]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return HEAD + re.sub(r"\n{2,}---", "\n---", _HELMS.sub("", rendered))


if __name__ == "__main__":
    FILE.write_text(manifest(), encoding="utf-8")
    print(f"written: {FILE.relative_to(ROOT)}")
