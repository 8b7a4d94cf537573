"""From a plan and where things are to a worker: the one place that knows which implementation stands behind a protocol."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep.queue.connect import connect
from kubesweep_worker.effects import open_effect
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.reconnecting import LateSource


def freeze_imports() -> None:
    """For processes that live to work: what is loaded now stays, so the garbage collector need not walk it again and again
    (10 ms each time, in the midst of a plan)."""
    gc.collect()
    gc.freeze()


def assemble(
    plan: Plan,
    *,
    url: Callable[[], str],
    queue_url: str,
    headers: Callable[[], Mapping[str, str]] = dict,
    settings: WorkerSettings | None = None,
    path: Path | None = None,
    where: str = "",
    refreshed: bool = False,
) -> Worker:
    """A worker for ``plan``, connected lazily. To be called inside a running event loop.

    ``url`` and ``headers`` (the webhook's secret ones) are asked again and again, so that what is rotated heals; ``where``
    tells people in a sentence where the URL comes from, and ``refreshed`` that something renews its password without an edit. ``path`` is put on sys.path for the handler: the folder of the YAML
    file, or the working directory of a pod. Without ``settings`` the plan's concurrency counts.
    """
    chosen = settings or dataclasses.replace(WorkerSettings(), concurrency=plan.concurrency)
    return Worker(
        plan,
        connect(queue_url),
        LateSource(plan, url, where, refreshed=refreshed),
        open_effect(plan, headers, path),
        chosen,
        lambda: connect(queue_url),
    )
