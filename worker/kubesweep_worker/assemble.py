"""From a plan and where things are to a worker: the one place that knows which implementation stands behind a protocol."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep.queue.connect import connect
from kubesweep_worker.effects import open_effect
from kubesweep_worker.settings import WorkerSettings
from kubesweep_worker.sources import open_source
from kubesweep_worker.worker import Worker


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
    headers: Mapping[str, str] | None = None,
    settings: WorkerSettings | None = None,
    path: Path | None = None,
) -> Worker:
    """A worker for ``plan``, connected lazily. To be called inside a running event loop.

    ``url`` is asked at each connect, so that a rotated password heals; ``headers`` are the webhook's secret ones;
    ``path`` is the folder of the YAML file, put on sys.path for its handler. Without ``settings`` the plan's
    concurrency counts.
    """
    chosen = settings or dataclasses.replace(WorkerSettings(), concurrency=plan.concurrency)
    return Worker(
        plan,
        connect(queue_url),
        open_source(plan, url),
        open_effect(plan, headers or {}, path),
        chosen,
        lambda: connect(queue_url),
    )
