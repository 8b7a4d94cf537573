"""The one Secret of a namespace: how its pods and KEDA log in to the queue. Written blindly, never read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.children.names import MANAGER, SECRET


@dataclass(frozen=True)
class NamespaceCredentials:
    user: str
    password: str = field(repr=False)
    keda_user: str
    keda_password: str = field(repr=False)


def build_secret(namespace: str, login: NamespaceCredentials, ca: str, sentinel_password: str) -> dict[str, Any]:
    """No owner: all schedules of the namespace share it."""
    entries = {
        "username": login.user,
        "password": login.password,
        "kedaUsername": login.keda_user,
        "kedaPassword": login.keda_password,
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
