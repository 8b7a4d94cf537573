"""Helpers for tests of handlers and schedules.

``context()`` and ``row()`` create a handler's arguments. ``sweep(...)`` runs one whole sweep of a YAML file against a
database, with a queue in a temporary folder.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubesweep.api.loading.files import Loaded, load
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, Sweep
from kubesweep.scheduling import sweep_request
from kubesweep_worker.handlers import Context, Row
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings

__all__ = ["Swept", "context", "row", "sweep"]


@dataclass(frozen=True)
class Swept:
    """``sweep`` has the state and the counts (applied, skipped, retrying, dead, ...), ``dead`` the dead letters. A sweep whose rows
    fail is Completed too, so compare ``planned`` with ``applied``."""

    sweep: Sweep
    dead: tuple[DeadLetter, ...]


def context(state: Any = None, *, attempt: int = 1, schedule: str = "test") -> Context:
    """A Context for calling a handler directly."""
    return Context(
        schedule=schedule,
        namespace="default",
        sweep="test",
        cutoff="2026-01-01 00:00:00+00",
        attempt=attempt,
        idempotency_key=str(uuid.uuid5(uuid.NAMESPACE_URL, schedule)),
        state=state,
    )


def row(values: Mapping[str, Any]) -> Row:
    """A Row for calling a handler directly."""
    return Row(values)


async def sweep(
    path: str | Path,
    *,
    url: str | None = None,
    name: str | None = None,
    retries: bool = False,
    settings: WorkerSettings | None = None,
) -> Swept:
    """Run one sweep of the schedule in ``path`` and return its result.

    ``url`` replaces the file's database. ``name`` picks one of several schedules. ``retries``: also wait until failing rows
    are applied or dead. Raises SpecErrors for an invalid file.
    """
    one = _pick(load([Path(path)], url=url), name)
    with tempfile.TemporaryDirectory(prefix="kubesweep-") as folder:
        where = f"sqlite:///{Path(folder) / 'queue.db'}"
        queue = connect(where)
        try:
            await queue.open_sweep(one.plan.ref, sweep_request(one.plan, time.time()))
            worker = build_worker(
                one.plan,
                url=lambda: one.url,
                queue_url=where,
                headers=lambda: one.headers,
                signing=lambda: one.signing,
                settings=settings or dataclasses.replace(WorkerSettings(), concurrency=one.plan.concurrency),
                path=_folder(path),
                where=one.database.where,
            )
            await worker.run(until_settled=True, await_retries=retries)
            (stats,) = await queue.stats([one.plan.ref])
            dead = await queue.dead_letters(one.plan.ref, most=10_000)
        finally:
            await queue.close()
    assert stats.sweep is not None
    return Swept(stats.sweep, dead)


def _folder(path: str | Path) -> Path:
    return Path(path).resolve().parent


def _pick(loaded: list[Loaded], name: str | None) -> Loaded:
    if name is not None:
        loaded = [one for one in loaded if one.plan.name == name]
    if len(loaded) != 1:
        raise ValueError(f"{len(loaded)} schedules match: choose one with name=...")
    return loaded[0]
