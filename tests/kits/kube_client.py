"""A client for a cluster and for one namespace: apply, wait for a condition, read logs, run commands in pods.

Nothing here sleeps. ``until`` lists, then follows the API server's watch, and fails at its deadline with what it saw last.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import config
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient

from tests.kits.deadlines import scaled

Object = dict[str, Any]
PATIENCE = 60.0


class DeadlineExceeded(AssertionError):
    """A condition did not become true in time. The text has the objects as they were seen last."""


class Cluster:
    """The API server of ``kubeconfig``. A kind is given as in a manifest: ``apps/v1 Deployment``.

    ``cache`` is the file of discovered resources. The client's default file is shared by all processes of the machine.
    """

    def __init__(self, kubeconfig: str, cache: Path) -> None:
        client: Any = config.new_client_from_config(kubeconfig)
        self.api: Any = DynamicClient(client, cache_file=str(cache))

    def kind(self, words: str) -> Any:
        version, _, kind = words.rpartition(" ")
        return self.api.resources.get(api_version=version or "v1", kind=kind)

    def apply(
        self, manifest: str | Mapping[str, Any], namespace: str | None = None, manager: str = "e2e"
    ) -> list[Object]:
        """Server-side apply of each document."""
        documents = yaml.safe_load_all(manifest) if isinstance(manifest, str) else [manifest]
        return [
            cast(
                Object,
                self.api.server_side_apply(
                    self.kind(f"{each['apiVersion']} {each['kind']}"),
                    body=each,
                    namespace=namespace,
                    field_manager=manager,
                    force_conflicts=True,
                ).to_dict(),
            )
            for each in documents
            if each
        ]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            return cast(Object, self.kind(kind).get(name=name, namespace=namespace).to_dict())
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def all(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        found = self.kind(kind).get(namespace=namespace, label_selector=selector).to_dict()
        return cast(list[Object], found["items"])

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Request the deletion in the background and return at once."""
        self.kind(kind).delete(name=name, namespace=namespace, body={"propagationPolicy": "Background"})

    def until(
        self,
        kind: str,
        condition: Callable[[list[Object]], bool],
        *,
        what: str,
        namespace: str | None = None,
        selector: str = "",
        name: str = "",
        patience: float = PATIENCE,
    ) -> list[Object]:
        """Follow the objects of a kind until ``condition`` is true for the list of them. ``what`` describes it in the failure."""
        resource, limit = self.kind(kind), scaled(patience)
        deadline = time.monotonic() + limit
        chosen = {
            "namespace": namespace,
            "label_selector": selector,
            "field_selector": f"metadata.name={name}" if name else "",
        }
        seen: dict[str, Object] = {}
        while (left := deadline - time.monotonic()) > 0:
            page = resource.get(**chosen).to_dict()
            seen = {each["metadata"]["uid"]: each for each in page["items"]}
            if condition(list(seen.values())):
                return list(seen.values())
            since = page["metadata"]["resourceVersion"]
            try:
                for event in self.api.watch(resource, **chosen, resource_version=since, timeout=math.ceil(left)):
                    found: Object = event["raw_object"]
                    if event["type"] == "DELETED":
                        seen.pop(found["metadata"]["uid"], None)
                    else:
                        seen[found["metadata"]["uid"]] = found
                    if condition(list(seen.values())):
                        return list(seen.values())
            except ApiException as error:
                if error.status != 410:  # the resource version expired: list again
                    raise
        last = "\n".join(json.dumps({"metadata": _brief(each), "status": each.get("status")}) for each in seen.values())
        raise DeadlineExceeded(f"not within {limit:.0f} s: {what}; {kind} {name or selector}:\n{last or 'none'}")


class Namespace:
    """One namespace; the methods of ``Cluster`` within it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def apply(self, manifest: str | Mapping[str, Any]) -> list[Object]:
        return self.cluster.apply(manifest, self.name)

    def get(self, kind: str, name: str) -> Object | None:
        return self.cluster.get(kind, name, self.name)

    def all(self, kind: str, selector: str = "") -> list[Object]:
        return self.cluster.all(kind, self.name, selector)

    def delete(self, kind: str, name: str) -> None:
        self.cluster.delete(kind, name, self.name)

    def until(
        self, kind: str, name: str, condition: Callable[[Object], bool], *, what: str, patience: float = PATIENCE
    ) -> Object:
        """Wait until the object of this name exists and ``condition`` is true for it."""
        return self.cluster.until(
            kind,
            lambda found: bool(found) and condition(found[0]),
            what=what,
            namespace=self.name,
            name=name,
            patience=patience,
        )[0]

    def until_all(
        self,
        kind: str,
        selector: str,
        condition: Callable[[list[Object]], bool],
        *,
        what: str,
        patience: float = PATIENCE,
    ) -> list[Object]:
        """Wait until ``condition`` is true for the list of objects with these labels."""
        return self.cluster.until(kind, condition, what=what, namespace=self.name, selector=selector, patience=patience)

    def until_gone(self, kind: str, name: str, patience: float = PATIENCE) -> None:
        self.cluster.until(
            kind, lambda found: not found, what=f"{name} is gone", namespace=self.name, name=name, patience=patience
        )

    def rolled_out(self, deployment: str, patience: float = PATIENCE) -> None:
        """Wait until every pod of a Deployment has its newest template and is ready."""

        def done(found: Object) -> bool:
            status, wanted = found.get("status", {}), found["spec"].get("replicas", 1)
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return bool(
                current
                and status.get("updatedReplicas", 0)
                == status.get("readyReplicas", 0)
                == status.get("replicas", 0)
                == wanted
            )

        self.until("apps/v1 Deployment", deployment, done, what=f"{deployment} is rolled out", patience=patience)

    def ended(self, pod: str, patience: float = PATIENCE) -> Object:
        """Wait until all containers of the pod have terminated. Returns the pod."""
        return self.until(
            "v1 Pod",
            pod,
            lambda found: found["status"].get("phase") in ("Succeeded", "Failed"),
            what=f"{pod} ends",
            patience=patience,
        )

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl in this namespace and return what it prints."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.name, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=scaled(120),
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def logs(self, pod: str, *words: str) -> str:
        return self.kubectl("logs", pod, *words)

    def exec(self, pod: str, *command: str) -> str:
        return self.kubectl("exec", pod, "--", *command)

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """Forward a port of ``pod/x`` or ``service/x``. Yields the local port."""
        command = ["kubectl", "--namespace", self.name, "port-forward", target, f":{port}", "--address", "127.0.0.1"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as tunnel:
            assert tunnel.stdout is not None
            assert tunnel.stderr is not None
            try:
                line = tunnel.stdout.readline()  # "Forwarding from 127.0.0.1:40123 -> 6379", once it listens
                assert "Forwarding from" in line, tunnel.stderr.read()
                yield int(line.split("->")[0].rpartition(":")[2])
            finally:
                tunnel.terminate()


def _brief(found: Object) -> Object:
    return {key: found["metadata"].get(key) for key in ("name", "generation", "labels", "deletionTimestamp")}
