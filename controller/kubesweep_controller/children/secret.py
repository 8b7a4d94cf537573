"""The namespace's Secret: the queue credentials of its pods and of KEDA. It is written without being read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.children.names import MANAGER, SECRET


@dataclass(frozen=True)
class NamespaceCredentials:
    """User and password of the pods, and KEDA's."""

    user: str
    password: str = field(repr=False)
    keda_user: str
    keda_password: str = field(repr=False)


def build_secret(namespace: str, credentials: NamespaceCredentials, ca: str, sentinel_password: str) -> dict[str, Any]:
    """It has no owner, because all schedules of the namespace share it."""
    entries = {
        "username": credentials.user,
        "password": credentials.password,
        "kedaUsername": credentials.keda_user,
        "kedaPassword": credentials.keda_password,
        "ca.crt": ca,
        "sentinelPassword": sentinel_password,
    }
    optional = {"ca.crt", "sentinelPassword"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": SECRET,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "kubesweep", "app.kubernetes.io/managed-by": MANAGER},
        },
        "data": _encoded({name: value for name, value in entries.items() if value or name not in optional}),
    }


def _encoded(entries: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(value.encode()).decode() for name, value in entries.items()}
