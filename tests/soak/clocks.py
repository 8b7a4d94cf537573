"""Pods whose clock can be shifted while they run: a small library (clock.c) is preloaded into their programs."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.kits.kube_client import Namespace, Object

NAME, MOUNT = "clock", {"name": "clock", "mountPath": "/clock"}
VOLUME = {"name": "clock", "configMap": {"name": NAME}}


def config_map() -> Object:
    """Compile the library. Returns the ConfigMap that ``VOLUME`` mounts."""
    source = Path(__file__).with_name("clock.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "clock.so"
        command = ["cc", "-O2", "-Wall", "-Werror", "-s", "-shared", "-fPIC", "-nostdlib", "-o"]
        subprocess.run([*command, str(library), str(source)], check=True)
        content = base64.b64encode(library.read_bytes()).decode()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "binaryData": {"clock.so": content}}


def environment(file: str) -> list[Object]:
    """The variables of a container whose offset is in ``file``."""
    return [{"name": "LD_PRELOAD", "value": "/clock/clock.so"}, {"name": "CLOCK_OFFSET", "value": file}]


def with_clock(spec: Object) -> Object:
    """The spec of a server's pod with such a clock. The offset is in ``/data``."""
    (container,) = spec["containers"]
    shifted = {
        **container,
        "env": [*container.get("env", []), *environment("/data/clock")],
        "volumeMounts": [*container.get("volumeMounts", []), MOUNT],
    }
    return {**spec, "containers": [shifted], "volumes": [*spec.get("volumes", []), VOLUME]}


def chart_values() -> Mapping[str, str]:
    """Values of the chart that give the controller and all workers such a clock."""
    pod = "worker.defaults.podTemplate.spec"
    values = {
        "controller.extraVolumes[0].name": NAME,
        "controller.extraVolumes[0].configMap.name": NAME,
        "controller.extraVolumeMounts[0].name": NAME,
        "controller.extraVolumeMounts[0].mountPath": "/clock",
        f"{pod}.volumes[0].name": NAME,
        f"{pod}.volumes[0].configMap.name": NAME,
        f"{pod}.containers[0].name": "worker",
        f"{pod}.containers[0].volumeMounts[0].name": NAME,
        f"{pod}.containers[0].volumeMounts[0].mountPath": "/clock",
    }
    for number, each in enumerate(environment("/tmp/clock")):
        for where in ("controller.extraEnv", "worker.defaults.env"):
            values |= {f"{where}[{number}].{key}": value for key, value in each.items()}
    return values


def shift(namespace: Namespace, pod: str, file: str, seconds: int) -> None:
    """Set the clock of a pod ``seconds`` ahead of the machine's; 0 corrects it."""
    namespace.exec(pod, "sh", "-c", f"echo {seconds} >{file}")
