"""The pods of workers and producers: what both have in common, and what only a worker has.

A template is merged in this order, the last one wins: ours, the installation's defaults (:mod:`.pod_defaults`), the schedule, and our
fields that must not be changed. Both kinds of pods run under PodSecurity ``restricted``, without a service account token, with a
read-only file system. Passwords are mounted files that may be missing when the pod starts: creating or rotating a Secret needs no restart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kubesweep.api.models.spec import Resources, Spec, Tick, Worker
from kubesweep.api.plan import Plan
from kubesweep.api.secret_values import SIGNING_FILE
from kubesweep.durations import parse_duration
from kubesweep.grace_period import grace_seconds
from kubesweep_controller.children import database
from kubesweep_controller.children.names import PRODUCER, RELEASE_LABEL, SECRET, WORKER, labels
from kubesweep_controller.children.overlay import merge
from kubesweep_controller.children.pod_defaults import combined
from kubesweep_controller.children.pod_settings import PodSettings
from kubesweep_controller.queue_address import FOLDER

PLAN_VARIABLE = "KUBESWEEP_PLAN"
METRICS = 8080  # where a worker serves its metrics, unless its environment says otherwise
METRICS_PORT = {"name": "metrics", "containerPort": METRICS, "protocol": "TCP"}
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS), "prometheus.io/path": "/metrics"}
# Scheduling and security apply to both kinds of pods, everything else in the overlay only to the worker.
_SHARED = (
    "nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName", "schedulerName", "serviceAccountName",
    "imagePullSecrets", "securityContext", "dnsPolicy", "dnsConfig", "hostAliases",
)  # fmt: skip
_RESOURCES: Mapping[str, dict[str, Any]] = {
    WORKER: {"requests": {"cpu": "50m", "memory": "128Mi"}},
    PRODUCER: {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
}
_NONE: Mapping[str, str] = {}


def worker_template(
    plan: Plan, spec_: Spec, queue_url: str, pods: PodSettings, labels_: Mapping[str, str] = _NONE
) -> dict[str, Any]:
    """The pod template of the worker. ``labels_``: labels that the pods take over from the schedule."""
    worker, source, default = spec_.worker, spec_.source, pods.defaults
    template = _worker(plan, queue_url, pods)
    volumes = database.volumes(source)
    template["spec"]["volumes"] += volumes
    container = template["spec"]["containers"][0]
    container["volumeMounts"] += [_mount(database.VOLUME, database.FOLDER) for _ in volumes]
    ours = container["env"]
    reserved = _names(ours) | database.VARIABLES
    based = _merged(template, default.pod_template or {}, _container(WORKER, env=_others(default.env, reserved)))
    own = _container(WORKER, image=worker.image, env=_others(worker.env, reserved), envFrom=list(worker.env_from or ()))
    resources = _resources(based, WORKER, default.resources, worker.resources, worker.pod_template)
    laid = _with_resources(
        _merged(based, {"metadata": {"labels": labels_}}, own, worker.pod_template or {}), WORKER, resources
    )
    ours = ours + database.environment(source, database.replaced_by(laid, volumes))
    # Our fields are merged last: an overlay may add to them, not remove them.
    last = _container(WORKER, command=container["command"], env=ours)
    last["metadata"] = {"labels": template["metadata"]["labels"]}
    return database.without_unused(_with_metrics_port(_with_pre_stop(_without_token(_merged(laid, last)))))


def _worker(plan: Plan, queue_url: str, pods: PodSettings) -> dict[str, Any]:
    """The worker without its database credentials and without overlays."""
    hook = plan.effect.webhook if plan.effect else None
    template = _template(plan, WORKER, queue_url, pods, "work")
    spec, container = template["spec"], template["spec"]["containers"][0]
    template["metadata"]["annotations"] |= SCRAPED
    if pods.release:
        template["metadata"]["labels"][RELEASE_LABEL] = pods.release
    spec["terminationGracePeriodSeconds"] = grace_seconds(plan)
    if hook and hook.headers_secret:
        _mount_secret(spec, container, "headers", {"secretName": hook.headers_secret, "optional": True})
    if hook and hook.sign_with:
        name, _, key = hook.sign_with.partition("/")
        items = [{"key": key, "path": SIGNING_FILE}]
        _mount_secret(spec, container, "signing", {"secretName": name, "optional": True, "items": items})
    return template


def _mount_secret(spec: dict[str, Any], container: dict[str, Any], name: str, secret: Mapping[str, Any]) -> None:
    """Mount a Secret of the webhook, and set the variable with its folder."""
    folder = f"/run/kubesweep/{name}"
    spec["volumes"].append({"name": name, "secret": secret})
    container["volumeMounts"].append(_mount(name, folder))
    container["env"].append({"name": f"KUBESWEEP_{name.upper()}_DIR", "value": folder})


def producer_template(
    plan: Plan, spec_: Spec, since: str | None, queue_url: str, pods: PodSettings, labels_: Mapping[str, str] = _NONE
) -> dict[str, Any]:
    """The pod template of the CronJob. ``since``: ticks up to this time are refused. ``labels_`` as in :func:`worker_template`."""
    tick, default, deadline = spec_.tick or Tick(), pods.defaults, spec_.starting_deadline_seconds
    template = _template(plan, PRODUCER, queue_url, pods, "tick")
    template["spec"]["restartPolicy"] = "Never"
    container = template["spec"]["containers"][0]
    container["env"] += [
        _from_label("KUBESWEEP_JOB_NAME", "batch.kubernetes.io/job-name"),
        _from_label("KUBESWEEP_JOB_UID", "batch.kubernetes.io/controller-uid"),
    ]
    if deadline is not None:
        container["env"].append({"name": "KUBESWEEP_STARTING_DEADLINE", "value": str(deadline)})
    if since is not None:
        container["env"].append({"name": "KUBESWEEP_TICKS_SINCE", "value": since})
    based = _merged(template, _shared(default.pod_template), default.tick.pod_template or {})
    resources = _resources(based, PRODUCER, default.tick.resources, tick.resources, tick.pod_template)
    own = {"metadata": {"labels": labels_}}, _shared(spec_.worker.pod_template), tick.pod_template or {}
    last = _container(PRODUCER, command=container["command"], env=container["env"])
    last["metadata"] = {"labels": template["metadata"]["labels"]}
    return _with_resources(_without_token(_merged(based, *own, last)), PRODUCER, resources)


def _merged(template: Mapping[str, Any], *overlays: Mapping[str, Any]) -> dict[str, Any]:
    """The overlays merged in order, the last one on top. A part that is null in its YAML is ignored: it does not remove the whole part."""
    made = dict(template)
    for each in overlays:
        made = merge(made, {name: value for name, value in each.items() if value is not None})
    return made


def _without_token(template: dict[str, Any]) -> dict[str, Any]:
    """An overlay that removes our false with null would mount the token, which is Kubernetes' default. Only true asks for it."""
    return {**template, "spec": {"automountServiceAccountToken": False, **template["spec"]}}


def _shared(overlay: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a worker's overlay that applies to the producer too."""
    given = overlay or {}
    shared = {name: value for name, value in (given.get("spec") or {}).items() if name in _SHARED}
    return {"metadata": given.get("metadata") or {}, "spec": shared}


def _container(name: str, **fields: Any) -> dict[str, Any]:
    """An overlay of one container. Fields without a value are left out."""
    given = {field: value for field, value in fields.items() if value}
    return {"spec": {"containers": [{"name": name, **given}]}}


def _others(env: Sequence[Mapping[str, Any]] | None, reserved: Collection[str]) -> list[Mapping[str, Any]]:
    return [each for each in env or () if each["name"] not in reserved]


def _resources(
    based: Mapping[str, Any],
    name: str,
    default: Resources | None,
    own: Resources | None,
    overlay: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Resources of this container: the schedule's, completed by the installation's. Ours apply only where neither sets any."""
    base: dict[str, Any] = merge(_resources_in(based, name), _plain(default))
    return combined(combined(base, _plain(own)) or _RESOURCES[name], _resources_in(overlay or {}, name))


def _resources_in(template: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    containers = (template.get("spec") or {}).get("containers") or ()
    return next((each.get("resources") or {} for each in containers if each.get("name") == name), {})


def _with_resources(template: dict[str, Any], name: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    """The template with these resources as a whole."""
    containers = [
        {**each, "resources": resources} if each.get("name") == name else each
        for each in template["spec"]["containers"]
    ]
    return {**template, "spec": {**template["spec"], "containers": containers}}


def _with_pre_stop(template: dict[str, Any]) -> dict[str, Any]:
    """A hook delays SIGTERM until the worker handles it. A preStop hook of the user's own replaces ours."""
    lifecycle = next(each for each in template["spec"]["containers"] if each.get("name") == WORKER).get("lifecycle")
    if isinstance(lifecycle, Mapping) and lifecycle.get("preStop"):
        return template
    hook = {"name": WORKER, "lifecycle": {"preStop": {"exec": {"command": ["kubesweep-worker", "prestop"]}}}}
    made: dict[str, Any] = merge(template, {"spec": {"containers": [hook]}})
    return made


def _with_metrics_port(template: dict[str, Any]) -> dict[str, Any]:
    """The port on which the worker serves its metrics, by which a PodMonitor finds it. On the host's network a declared port would
    allow one worker a node. A port of the user's own with this name or number replaces ours."""
    containers = template["spec"]["containers"]
    ports = next(each for each in containers if each.get("name") == WORKER).get("ports") or ()
    known = any(port.get("name") == METRICS_PORT["name"] or port.get("containerPort") == METRICS for port in ports)
    if known or template["spec"].get("hostNetwork"):
        return template
    made: dict[str, Any] = merge(template, _container(WORKER, ports=[METRICS_PORT]))
    return made


def cooldown_seconds(worker: Worker) -> int:
    return max(1, round(parse_duration(worker.cooldown)))


def _template(plan: Plan, component: str, queue_url: str, pods: PodSettings, command: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": component,
        "image": pods.image,
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
    # Without it the cluster autoscaler would not remove a node that has an emptyDir.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "tmp"}
    return {"metadata": {"labels": labels(plan.name, component), "annotations": annotations}, "spec": spec}


def _plain(resources: Resources | None) -> dict[str, Any]:
    return resources.model_dump(by_alias=True, exclude_none=True) if resources else {}


def _names(env: list[dict[str, Any]]) -> set[str]:
    return {str(each["name"]) for each in env}


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}


def _from_label(variable: str, label: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}
