"""Causes in the way in which a schedule is served: by whom, from which spec, and whether the controller can act. Pure."""

from __future__ import annotations

from kubectl_sweep.diagnosis.causes import Cause, Diagnosis
from kubectl_sweep.diagnosis.facts import Facts
from kubesweep.text import as_sentence
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import mapping, number, text

__all__ = [
    "awaiting_nobody",
    "children_refused",
    "controller_silent",
    "crd_outdated",
    "deleted",
    "invalid_spec",
    "queue_unavailable",
    "suspended",
]

CONTROLLERS = "kubectl get deployments -A -l app.kubernetes.io/name=kubesweep,app.kubernetes.io/component=controller"
LATE = 180.0  # seconds after which a tick that the cluster fired should be in the status


def deleted(facts: Facts) -> Diagnosis | None:
    since = parse_time(facts.meta.get("deletionTimestamp"))
    if since is None:
        return None
    command = f"kubectl get sweepschedule {facts.schedule.name} {facts.here} -o yaml"
    return Diagnosis(
        Cause.DELETED, f"{facts.name} is being deleted since {facts.when(since)}.", command, "To see its finalizers"
    )


def awaiting_nobody(facts: Facts) -> Diagnosis | None:
    """No controller has reported on this version of the spec."""
    observed = facts.schedule.status.get("observedGeneration")
    generation = number(facts.meta.get("generation"))
    if isinstance(observed, int) and observed >= generation:
        return None
    command, evidence = _controller(facts), (f"generation {generation}, status.observedGeneration {observed}",)
    if isinstance(observed, int) and observed > 0:
        sentence = f"No controller has seen the latest edit of {facts.name}, so the version before it still runs."
    else:
        created = parse_time(facts.meta.get("creationTimestamp"))
        sentence = f"No controller has seen {facts.name}, which was created {facts.when(created)}."
    return Diagnosis(Cause.UNOBSERVED, sentence, command, "To see the controllers", evidence)


def _controller(facts: Facts) -> str:
    """The command that shows the controller that serves the schedule, or all of them."""
    namespace, _, name = text(facts.schedule.status.get("servedBy")).partition("/")
    return f"kubectl get deployment {name} -n {namespace}" if name else CONTROLLERS


def invalid_spec(facts: Facts) -> Diagnosis | None:
    if facts.reason("Ready", "False") != "InvalidSpec":
        return None
    sentence = f"The spec of {facts.name} is invalid: {as_sentence(facts.message('Ready'))}"
    return Diagnosis(Cause.INVALID_SPEC, sentence, facts.edit, evidence=facts.evidence("Ready"))


def suspended(facts: Facts) -> Diagnosis | None:
    if facts.schedule.spec.get("suspend") is not True:
        return None
    since = parse_time(facts.schedule.condition("Suspended").get("lastTransitionTime"))
    sentence = f"{facts.name} is suspended since {facts.when(since)}: no tick fires and no worker runs."
    return Diagnosis(Cause.SUSPENDED, sentence, facts.command("resume"), "To resume it", facts.evidence("Suspended"))


def crd_outdated(facts: Facts) -> Diagnosis | None:
    """Only fields of the spec make a difference to sweeps. Others are evidence of another cause."""
    lost = [each for each in facts.pruned if each.startswith("spec.")]
    if not lost:
        return None
    sentence = f"The cluster's CRD is older than its controller and drops fields of the spec: {', '.join(lost[:5])}."
    command = "kubectl apply --server-side --force-conflicts -f manifests/crd.yaml"
    return Diagnosis(Cause.CRD_OUTDATED, sentence, command, "To update it, from the release that runs")


def children_refused(facts: Facts) -> Diagnosis | None:
    reason = facts.reason("Ready", "False")
    if reason not in ("NameTaken", "ChildRejected", "ReconcileFailed"):
        return None
    sentence = f"The objects of {facts.name} cannot be created or updated: {as_sentence(facts.message('Ready'))}"
    evidence = facts.evidence("Ready")
    if reason == "ChildRejected":
        return Diagnosis(Cause.CHILDREN_REFUSED, sentence, facts.edit, evidence=evidence)
    if reason == "NameTaken":
        command = f"kubectl get deployments,cronjobs,scaledobjects {facts.here}"
        return Diagnosis(Cause.CHILDREN_REFUSED, sentence, command, "To see whose they are", evidence)
    return Diagnosis(Cause.CHILDREN_REFUSED, sentence, _controller(facts), "To see the controller", evidence)


def queue_unavailable(facts: Facts) -> Diagnosis | None:
    if facts.reason("Ready", "False") != "QueueUnavailable":
        return None
    sentence = f"The queue does not respond, so {facts.name} neither starts nor continues a sweep: {as_sentence(facts.message('Ready'))}"
    namespace = text(facts.schedule.status.get("servedBy")).partition("/")[0]
    command = (
        f"kubectl get pods -n {namespace}" if namespace else "kubectl get pods -A -l app.kubernetes.io/name=kubesweep"
    )
    return Diagnosis(Cause.QUEUE_UNAVAILABLE, sentence, command, "To see the queue's pods", facts.evidence("Ready"))


def controller_silent(facts: Facts) -> Diagnosis | None:
    """The cluster fired a tick, or the period passed, and the status does not have it although nothing else runs."""
    fired, known = _fired(facts), parse_time(facts.schedule.status.get("lastScheduleTime"))
    last = facts.schedule.last
    if fired is None or facts.now - fired < LATE or (known is not None and known >= fired):
        return None
    if last is not None and not last.state.settled:
        return None
    latest = "none" if known is None else facts.when(known)
    sentence = f"The tick of {facts.when(fired)} is not in the status of {facts.name}: its controller does not work."
    evidence = (f"status.lastScheduleTime: {latest}",)
    return Diagnosis(Cause.CONTROLLER_SILENT, sentence, _controller(facts), "To see the controller", evidence)


def _fired(facts: Facts) -> float | None:
    """The latest tick that must have reached the queue."""
    if facts.schedule.spec.get("schedule"):
        status = mapping(mapping(facts.cronjob or {}).get("status"))
        fired, done = parse_time(status.get("lastScheduleTime")), parse_time(status.get("lastSuccessfulTime"))
        return fired if fired is not None and done is not None and done >= fired else None
    since = parse_time(mapping(facts.schedule.status.get("activeSchedule")).get("since"))
    ticks = facts.schedule.ticks
    fired = None if ticks is None else ticks.latest(facts.now - LATE)
    return fired if fired is not None and since is not None and fired > since else None
