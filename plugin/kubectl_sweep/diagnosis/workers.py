"""Causes in pods and in what starts them: images, Secrets, crashes, nodes, quotas, KEDA, and the Jobs of ticks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubectl_sweep.diagnosis.causes import Cause, Diagnosis
from kubectl_sweep.diagnosis.facts import LONGEST, Facts, Object
from kubesweep.text import as_sentence, clip
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import items, mapping, number, text

__all__ = [
    "keda_missing",
    "no_worker",
    "pod_problem",
    "pods_refused",
    "scaler_not_ready",
    "tick_failing",
    "tick_missed",
]

IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError"})
PATIENCE = 60.0  # seconds that a job may wait for the first worker
PAUSED = "autoscaling.keda.sh/paused"


def pod_problem(facts: Facts) -> Diagnosis | None:
    """Why a pod of the worker does not run, while fewer run than should."""
    return _problem_of(facts, facts.of("worker"), "worker") if _lacks_workers(facts) else None


def _lacks_workers(facts: Facts) -> bool:
    if facts.deployment is None:
        return True
    wanted = number(mapping(facts.deployment.get("spec")).get("replicas"))
    return number(mapping(facts.deployment.get("status")).get("readyReplicas")) < max(1, wanted)


def _problem_of(facts: Facts, pods: Iterable[Object], component: str) -> Diagnosis | None:
    for pod in pods:
        name = text(mapping(pod.get("metadata")).get("name"))
        for condition in map(mapping, items(mapping(pod.get("status")).get("conditions"))):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                said = as_sentence(clip(text(condition.get("message")), LONGEST))
                sentence = f"No node of the cluster takes the {component}'s pod {name}: {said}"
                command = f"kubectl describe pod {name} {facts.here}"
                return Diagnosis(
                    Cause.UNSCHEDULABLE, sentence, command, "To see what it asks for", _warning(facts, name)
                )
        for container in _containers(pod):
            if found := _of_container(facts, name, container, component):
                return found
    return None


def _containers(pod: Object) -> Iterator[Object]:
    status = mapping(pod.get("status"))
    yield from map(mapping, (*items(status.get("initContainerStatuses")), *items(status.get("containerStatuses"))))


def _of_container(facts: Facts, pod: str, container: Object, component: str) -> Diagnosis | None:
    waiting = mapping(mapping(container.get("state")).get("waiting"))
    reason, said = text(waiting.get("reason")), clip(text(waiting.get("message")), LONGEST)
    if reason in IMAGE:
        sentence = f"The image {text(container.get('image'))} of the {component}'s pod {pod} cannot be pulled: {as_sentence(said or reason)}"
        return Diagnosis(
            Cause.IMAGE_NOT_PULLED, sentence, facts.edit, "To correct spec.worker.image", _warning(facts, pod)
        )
    if reason in CONFIGURATION:
        sentence = f"The {component}'s pod {pod} cannot start: {as_sentence(said or reason)}"
        command = f"kubectl get secrets,configmaps {facts.here}"
        return Diagnosis(Cause.SECRET_MISSING, sentence, command, "To see which there are", _warning(facts, pod))
    if reason == "CrashLoopBackOff":
        ended = mapping(mapping(container.get("lastState")).get("terminated"))
        how = (
            f"exit code {ended.get('exitCode')}, {text(ended.get('reason')) or 'Error'}"
            if ended
            else "its exit code is not known"
        )
        sentence = f"The {component}'s pod {pod} has crashed {number(container.get('restartCount'))} times ({how})."
        flags = ("--previous",) if component == "worker" else ("--ticks", "--previous")
        return Diagnosis(Cause.CRASH_LOOP, sentence, facts.command("logs", *flags), "To see why", _warning(facts, pod))
    return None


def _warning(facts: Facts, name: str) -> tuple[str, ...]:
    found = facts.warned(name)
    return (f"Event about {name}: {found}",) if found else ()


def pods_refused(facts: Facts) -> Diagnosis | None:
    """A quota, an admission policy or a webhook keeps the Deployment from creating pods."""
    refused = facts.conditions_of(facts.deployment).get("ReplicaFailure", {})
    if refused.get("status") != "True":
        return _otherwise_stuck(facts)
    said = as_sentence(clip(text(refused.get("message")), LONGEST))
    sentence = f"The API server refuses the worker's pods of {facts.name}: {said}"
    command = f"kubectl describe quota,limits {facts.here}"
    return Diagnosis(Cause.PODS_REFUSED, sentence, command, "To see quotas and limits", facts.evidence("Ready"))


def _otherwise_stuck(facts: Facts) -> Diagnosis | None:
    """The controller reports a pod that the user may not read."""
    if facts.reason("Ready", "False") != "WorkerStuck" or _scaler_trouble(facts):
        return None
    sentence = f"{facts.name} has no worker: {as_sentence(facts.message('Ready'))}"
    command = f"kubectl describe pods {facts.here} -l kubesweep.dev/schedule={facts.schedule.name}"
    return Diagnosis(Cause.NO_WORKER, sentence, command, "To see its pods", facts.evidence("Ready"))


def _scaler_trouble(facts: Facts) -> str:
    return next(
        (
            each
            for status in ("False", "Unknown")
            if (each := facts.reason("Autoscaling", status)) in ("ScalerFailed", "ScalerSilent")
        ),
        "",
    )


def scaler_not_ready(facts: Facts) -> Diagnosis | None:
    """KEDA is installed, and does not do its work for this schedule."""
    name = f"{facts.schedule.name}-worker"
    command = f"kubectl describe scaledobject {name} {facts.here}"
    annotations = mapping(mapping(mapping(facts.scaler or {}).get("metadata")).get("annotations"))
    if annotations.get(PAUSED) not in (None, "false"):
        sentence = f"The annotation {PAUSED} of the ScaledObject {name} pauses KEDA, so {facts.name} gets no worker."
        remove = f"kubectl annotate scaledobject {name} {facts.here} {PAUSED}-"
        return Diagnosis(Cause.SCALER_NOT_READY, sentence, remove, "To remove it", facts.evidence("Autoscaling"))
    if _scaler_trouble(facts):
        sentence = f"KEDA does not scale the workers of {facts.name}: {as_sentence(facts.message('Autoscaling'))}"
        return Diagnosis(
            Cause.SCALER_NOT_READY, sentence, command, "To see what KEDA reports", facts.evidence("Autoscaling")
        )
    active = facts.conditions_of(facts.hpa).get("ScalingActive", {})
    if active.get("status") == "False" and active.get("reason") not in ("ScalingDisabled", None) and _jobs_wait(facts):
        said = as_sentence(clip(text(active.get("message")), LONGEST))
        sentence = f"The autoscaler of {facts.name} cannot read the length of the queue: {said}"
        return Diagnosis(
            Cause.SCALER_NOT_READY, sentence, command, "To see what KEDA reports", facts.evidence("Autoscaling")
        )
    return None


def _jobs_wait(facts: Facts) -> bool:
    since = parse_time(facts.schedule.status.get("oldestReadyTime"))
    return number(facts.queue.get("ready")) > 0 and since is not None and facts.now - since > PATIENCE


def keda_missing(facts: Facts) -> Diagnosis | None:
    """Without KEDA the number of workers is fixed. That is a cause only where jobs wait."""
    if facts.reason("Autoscaling", "False") != "KedaMissing" or not _jobs_wait(facts):
        return None
    waits = number(facts.queue.get("ready"))
    sentence = (
        f"This cluster has no KEDA, so the number of workers of {facts.name} is fixed, and {waits} jobs wait for one."
    )
    return Diagnosis(
        Cause.KEDA_MISSING,
        sentence,
        facts.edit,
        "To raise worker.minReplicas, or install KEDA",
        facts.evidence("Autoscaling"),
    )


def no_worker(facts: Facts) -> Diagnosis | None:
    running = mapping(mapping(facts.deployment or {}).get("status")).get("readyReplicas")
    if not _jobs_wait(facts) or number(running) or any(facts.of("worker")) or number(facts.queue.get("running")):
        return None
    since = facts.when(parse_time(facts.schedule.status.get("oldestReadyTime")))
    sentence = f"{number(facts.queue.get('ready'))} jobs of {facts.name} wait since {since}, and no worker was started."
    command = f"kubectl describe scaledobject {facts.schedule.name}-worker {facts.here}"
    return Diagnosis(Cause.NO_WORKER, sentence, command, "To see what KEDA reports", facts.evidence("Autoscaling"))


def tick_failing(facts: Facts) -> Diagnosis | None:
    """The latest Job of the CronJob failed, or its pod does not start."""
    if not facts.schedule.spec.get("schedule"):
        return None
    found = _problem_of(facts, (each for each in facts.of("producer") if _is_open(each)), "tick")
    if found is not None:
        return found._replace(cause=Cause.TICK_FAILING)
    if not facts.jobs:
        return None
    latest = max(facts.jobs, key=lambda job: text(mapping(job.get("metadata")).get("creationTimestamp")))
    name, status = text(mapping(latest.get("metadata")).get("name")), mapping(latest.get("status"))
    refused = "" if number(status.get("active")) or number(status.get("succeeded")) else facts.warned(name)
    failed = facts.conditions_of(latest).get("Failed", {}).get("status") == "True"
    if not failed and not refused:
        return None
    said = text(facts.conditions_of(latest).get("Failed", {}).get("message")) or refused
    sentence = f"The tick of {facts.name} fails (Job {name}): {as_sentence(clip(said, LONGEST))}"
    return Diagnosis(
        Cause.TICK_FAILING, sentence, facts.command("logs", "--ticks"), "To see its log", facts.evidence("Degraded")
    )


def _is_open(pod: Object) -> bool:
    return mapping(pod.get("status")).get("phase") not in ("Succeeded", "Failed")


def tick_missed(facts: Facts) -> Diagnosis | None:
    if facts.reason("Degraded", "True") != "MissedSchedule":
        return None
    missed = parse_time(facts.schedule.status.get("lastMissedTime"))
    sentence = f"The tick of {facts.when(missed)} of {facts.name} started no sweep; the next one covers its rows."
    return Diagnosis(
        Cause.TICK_MISSED, sentence, facts.command("trigger"), "To run a sweep now", facts.evidence("Degraded")
    )
