"""Build a worker from a plan: the one module that chooses the implementations of queue, source and effect."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep.queue.connect import connect
from kubesweep_worker.effects import open_effect
from kubesweep_worker.recorder import Recorder
from kubesweep_worker.runtime.worker import Worker
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources.reconnecting import ReconnectingSource


def freeze_imports() -> None:
    """Exclude everything that is loaded now from garbage collection, which otherwise takes 10 ms of a plan each time. For
    processes that only run workers."""
    gc.collect()
    gc.freeze()


def build_worker(
    plan: Plan,
    *,
    url: Callable[[], str],
    queue_url: str,
    headers: Callable[[], Mapping[str, str]] = dict,
    signing: Callable[[], tuple[str, ...]] = tuple,
    settings: WorkerSettings | None = None,
    path: Path | None = None,
    where: str = "",
    refreshed: bool = False,
) -> Worker:
    """A worker for ``plan``, which connects lazily. Call it inside a running event loop.

    ``url``, ``headers`` (the webhook's secret headers) and ``signing`` (the secrets that sign its requests) are read again at
    each use, so a rotated Secret takes effect. ``where`` is a sentence for messages that says where the URL comes from.
    ``refreshed``: something renews its password without an edit. ``path`` is put on sys.path for the handler: the folder of the YAML file, or the working
    directory of a pod. Without ``settings`` the plan's concurrency applies.
    """
    chosen = settings or dataclasses.replace(WorkerSettings(), concurrency=plan.concurrency)
    recorder = Recorder(plan, chosen.concurrency, chosen.monotonic)
    return Worker(
        plan,
        connect(queue_url),
        ReconnectingSource(plan, url, where, refreshed=refreshed),
        open_effect(plan, headers, path, signing, recorder.called),
        chosen,
        lambda: connect(queue_url),
        recorder,
    )
