"""The pods of worker and producer: what both have in common, and what is a worker's own.

Both run under PodSecurity ``restricted``, without a service-account token, with a read-only file system. Passwords come as
mounted files that may be missing when the pod starts: whoever creates or rotates a Secret later needs to restart nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesweep.api.plan import Plan
from kubesweep.api.spec import Spec, Tick, Worker
from kubesweep.draining import grace_seconds
from kubesweep.durations import parse_duration
from kubesweep_controller.children import database
from kubesweep_controller.children.names import PRODUCER, SECRET, WORKER, labels
from kubesweep_controller.children.overlay import merge
from kubesweep_controller.queue_address import FOLDER
from kubesweep_controller.settings import Pods

PLAN_VARIABLE = "KUBESWEEP_PLAN"
# Where and as whom a pod runs is true for both kinds of pods; everything else of the overlay is the worker's.
_SHARED = (
    "nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName", "schedulerName", "serviceAccountName",
    "imagePullSecrets", "securityContext", "dnsPolicy", "dnsConfig", "hostAliases",
)  # fmt: skip
_WORKER_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}}
_PRODUCER_RESOURCES = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def worker_template(plan: Plan, spec_: Spec, queue_url: str, pods: Pods) -> dict[str, Any]:
    """The pod template of the worker."""
    worker, source = spec_.worker, spec_.source
    template = _worker(plan, worker, queue_url, pods)
    spec, container = template["spec"], template["spec"]["containers"][0]
    login = database.volumes(source)
    spec["volumes"] += login
    container["volumeMounts"] += [_mount(database.VOLUME, database.FOLDER) for _ in login]
    ours = container["env"]
    container["env"] = ours + [
        each for each in worker.env or () if each["name"] not in _names(ours) | database.VARIABLES
    ]
    laid: dict[str, Any] = merge(template, _given(worker.pod_template))
    ours = ours + database.environment(source, database.replaced_by(laid, login))
    kept = {"name": WORKER, "command": container["command"], "env": ours}
    # What is ours is laid on last: an overlay may add to it, not talk the pod out of it.
    last = {"metadata": {"labels": template["metadata"]["labels"]}, "spec": {"containers": [kept]}}
    return database.without_unused(_listen_first(merge(laid, last)))


def _worker(plan: Plan, worker: Worker, queue_url: str, pods: Pods) -> dict[str, Any]:
    """The worker without the login of its database and without what the spec lays over it."""
    headers = plan.effect.webhook.headers_secret if plan.effect and plan.effect.webhook else None
    template = _template(plan, WORKER, queue_url, pods, worker.image or pods.image, "work")
    spec, container = template["spec"], template["spec"]["containers"][0]
    spec["terminationGracePeriodSeconds"] = grace_seconds(plan)
    if headers:
        spec["volumes"].append({"name": "headers", "secret": {"secretName": headers, "optional": True}})
        container["volumeMounts"].append(_mount("headers", "/run/kubesweep/headers"))
        container["env"].append({"name": "KUBESWEEP_HEADERS_DIR", "value": "/run/kubesweep/headers"})
    container["resources"] = _resources(worker) or _WORKER_RESOURCES
    if worker.env_from:
        container["envFrom"] = list(worker.env_from)
    return template


def producer_template(plan: Plan, spec_: Spec, since: str | None, queue_url: str, pods: Pods) -> dict[str, Any]:
    """The pod template of the CronJob. ``since``: ticks up to then are refused."""
    worker, tick, deadline = spec_.worker, spec_.tick, spec_.starting_deadline_seconds
    template = _template(plan, PRODUCER, queue_url, pods, pods.image, "tick")
    spec = template["spec"]
    spec["restartPolicy"] = "Never"
    container = spec["containers"][0]
    container["resources"] = _resources(tick) or _PRODUCER_RESOURCES
    container["env"] += [
        _from_label("KUBESWEEP_JOB_NAME", "batch.kubernetes.io/job-name"),
        _from_label("KUBESWEEP_JOB_UID", "batch.kubernetes.io/controller-uid"),
    ]
    if deadline is not None:
        container["env"].append({"name": "KUBESWEEP_STARTING_DEADLINE", "value": str(deadline)})
    if since is not None:
        container["env"].append({"name": "KUBESWEEP_TICKS_SINCE", "value": since})
    overlay: dict[str, Any] = worker.pod_template or {}
    shared = {name: value for name, value in (overlay.get("spec") or {}).items() if name in _SHARED}
    own = _given(tick.pod_template if tick else None)
    kept = {"name": PRODUCER, "command": container["command"], "env": container["env"]}
    last = {"metadata": {"labels": template["metadata"]["labels"]}, "spec": {"containers": [kept]}}
    made = template
    for each in ({"metadata": overlay.get("metadata") or {}, "spec": shared}, own, last):
        made = merge(made, each)
    return made


def _given(overlay: Mapping[str, Any] | None) -> dict[str, Any]:
    """An overlay without parts that are empty in its YAML: these say nothing, and do not remove the whole part."""
    return {name: value for name, value in (overlay or {}).items() if value is not None}


def _listen_first(template: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes sends SIGTERM only once the worker listens to it; a hook of the user's own takes the place of ours."""
    lifecycle = next(each for each in template["spec"]["containers"] if each.get("name") == WORKER).get("lifecycle")
    if isinstance(lifecycle, Mapping) and lifecycle.get("preStop"):
        return template
    hook = {"name": WORKER, "lifecycle": {"preStop": {"exec": {"command": ["kubesweep-worker", "prestop"]}}}}
    made: dict[str, Any] = merge(template, {"spec": {"containers": [hook]}})
    return made


def cooldown_seconds(worker: Worker) -> int:
    return max(1, round(parse_duration(worker.cooldown)))


def _template(plan: Plan, component: str, queue_url: str, pods: Pods, image: str, command: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": component,
        "image": image,
        "command": ["kubesweep-worker", command],
        "env": [
            {"name": PLAN_VARIABLE, "value": plan.to_json()},
            {"name": "KUBESWEEP_QUEUE", "value": queue_url},
            {"name": "KUBESWEEP_LOG_LEVEL", "value": pods.log_level},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, _mount("queue", FOLDER)],
    }
    if pods.pull_policy:
        container["imagePullPolicy"] = pods.pull_policy
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "queue", "secret": {"secretName": SECRET, "optional": True}},
        ],
    }
    if pods.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pods.pull_secrets]
    # Without it the cluster's autoscaler leaves a node alone because of an emptyDir.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "tmp"}
    return {"metadata": {"labels": labels(plan.name, component), "annotations": annotations}, "spec": spec}


def _resources(of: Worker | Tick | None) -> dict[str, Any]:
    return of.resources.model_dump(by_alias=True, exclude_none=True) if of is not None and of.resources else {}


def _names(env: list[dict[str, Any]]) -> set[str]:
    return {str(each["name"]) for each in env}


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}


def _from_label(variable: str, label: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}
