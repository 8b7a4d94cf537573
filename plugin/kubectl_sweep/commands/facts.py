"""Reads what a diagnosis is made from. What the user may not read is left out, and named."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.errors import ApiRefused, Forbidden
from kubectl_sweep.cluster.kinds import (
    CRDS,
    CRONJOBS,
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    JOBS,
    PODS,
    SCALEDOBJECTS,
    SCHEDULES,
    Kind,
    Ref,
)
from kubectl_sweep.cluster.schema import missing_fields
from kubectl_sweep.context import Context
from kubectl_sweep.diagnosis.facts import Facts
from kubesweep_console.documents import Schedule, text

__all__ = ["facts_of", "schedule_facts"]

REQUESTS = 8  # at once
LABEL = "kubesweep.dev/schedule"
PRODUCER = "app.kubernetes.io/component=producer"
VERSION = "app.kubernetes.io/version"
Object = dict[str, Any]


def schedule_facts(context: Context, ref: Ref, found: Mapping[str, Any]) -> Facts:
    """Only what the schedule itself says."""

    def command(verb: str, *words: str) -> str:
        return context.command(verb, ref, *words)

    return Facts(Schedule(found), time.time(), command)


def facts_of(context: Context, ref: Ref, found: Mapping[str, Any]) -> Facts:
    """The schedule ``found`` and everything around it, read at once."""
    cluster, worker, tick = context.cluster, f"{ref.name}-worker", f"{ref.name}-tick"
    mine = f"{LABEL}={ref.name}"
    reads: dict[str, tuple[Kind, Callable[[], Any]]] = {
        "pods": (PODS, lambda: tuple(cluster.pods(ref.namespace, mine))),
        "deployment": (DEPLOYMENTS, lambda: cluster.get(DEPLOYMENTS, ref.namespace, worker)),
        "scaler": (SCALEDOBJECTS, lambda: cluster.get(SCALEDOBJECTS, ref.namespace, worker)),
        "hpa": (HPAS, lambda: cluster.get(HPAS, ref.namespace, f"keda-hpa-{worker}")),
        "cronjob": (CRONJOBS, lambda: cluster.get(CRONJOBS, ref.namespace, tick)),
        "jobs": (JOBS, lambda: tuple(cluster.list(JOBS, ref.namespace, f"{mine},{PRODUCER}"))),
        "warnings": (EVENTS, lambda: _warnings(cluster, ref)),
        "pruned": (CRDS, lambda: _pruned(cluster, found)),
    }
    with ThreadPoolExecutor(REQUESTS) as pool:
        asked = {name: pool.submit(read) for name, (_, read) in reads.items()}
    known: dict[str, Any] = {}
    unread: list[str] = []
    for name, (kind, _) in reads.items():
        try:
            known[name] = asked[name].result()
        except Forbidden:
            if name != "pruned":  # nobody but an administrator may read the CRD
                unread.append(kind.plural)
        except ApiRefused:
            unread.append(kind.plural)
    facts = schedule_facts(context, ref, found)
    return Facts(facts.schedule, facts.now, facts.command, **known, unread=tuple(unread))


def _warnings(cluster: Cluster, ref: Ref) -> tuple[Object, ...]:
    """Events of the namespace about the schedule's children, whose names begin with its own."""
    found = cluster.list(EVENTS, ref.namespace, fields="type=Warning")
    return tuple(each for each in found if text((each.get("regarding") or {}).get("name")).startswith(f"{ref.name}-"))


def _pruned(cluster: Cluster, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that the cluster's CRD lacks. Only a controller of this version must have them all; of others nothing is known."""
    from importlib.metadata import version

    namespace, _, name = text((found.get("status") or {}).get("servedBy")).partition("/")
    if not name:
        return ()
    controller = cluster.get(DEPLOYMENTS, namespace, name)
    labels = ((controller or {}).get("metadata") or {}).get("labels") or {}
    if labels.get(VERSION) != version("kubesweep"):
        return ()
    crd = cluster.get(CRDS, None, f"{SCHEDULES.plural}.{SCHEDULES.group}")
    return () if crd is None else missing_fields(crd)
