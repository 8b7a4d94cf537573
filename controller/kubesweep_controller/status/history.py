"""The sweeps in a status: what the queue remembers, merged with what the status remembers.

The queue may be lost at any time, the status survives. If the status says that a sweep is running and the queue answers without
knowing it, the sweep is Lost. Only this module decides that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kubesweep.proposal import key_texts, proposal_of, read_proposal
from kubesweep.queue.model import HISTORY, PlanVersion, Sweep, SweepState, parse_key
from kubesweep.text import clip
from kubesweep_controller.status.formatting import parse_time, time_text
from kubesweep_controller.status.observation import Observation

__all__ = ["last_of", "past_of", "previous", "sweeps_of"]

LOST_REASON = "QueueLost"
LOST_MESSAGE = "the queue no longer knows this sweep; the next one finds the rows that are still stale"
COUNTS = ("planned", "applied", "skipped", "unconfirmed", "retrying", "dead")
_NO_PLAN = PlanVersion(0, "")


def previous(observation: Observation) -> Mapping[str, Any]:
    """The status as it was last written."""
    status = observation.body.get("status")
    return status if isinstance(status, Mapping) else {}


def sweeps_of(observation: Observation) -> tuple[Sweep, ...]:
    """The latest first, at most one more than ``HISTORY``. That is as many as the queue remembers, so that a sweep which only aged out is
    not called lost.
    """
    status = previous(observation)
    written = [status.get("lastSweep"), *(status.get("history") or ())]
    before = [sweep for entry in written if (sweep := _read(entry)) is not None]
    if observation.stats is None:
        return tuple(before[: HISTORY + 1])
    known = observation.stats.sweeps
    ids = {sweep.id for sweep in known}
    gone = [sweep for sweep in before if sweep.id not in ids]
    merged = [*known, *(sweep if sweep.state.settled else _lost(sweep) for sweep in gone)]
    return tuple(sorted(merged, key=lambda sweep: sweep.started, reverse=True)[: HISTORY + 1])


def _lost(sweep: Sweep) -> Sweep:
    return msgspec.structs.replace(sweep, state=SweepState.LOST, reason=LOST_REASON, message=LOST_MESSAGE)


def past_of(sweep: Sweep) -> dict[str, Any]:
    """A sweep as an entry of ``status.history``."""
    entry: dict[str, Any] = {
        "id": clip(sweep.id, 128),
        "tick": time_text(sweep.tick),
        "mode": clip(sweep.mode, 128),
        "state": str(sweep.shown_state),
    }
    if sweep.reason:
        entry["reason"] = clip(sweep.reason, 128)
    if sweep.started:
        entry["startTime"] = time_text(int(sweep.started))
    if sweep.finished is not None:
        entry["completionTime"] = time_text(int(sweep.finished))
    if sweep.all_stale is not None:
        entry["stale"] = sweep.all_stale
    return entry | {name: getattr(sweep, name) for name in COUNTS}


def last_of(sweep: Sweep) -> dict[str, Any]:
    """A sweep as ``status.lastSweep``."""
    entry = past_of(sweep) | {"capped": sweep.capped}
    if sweep.message:
        entry["message"] = clip(sweep.message, 1024)
    if sweep.cutoff is not None:
        entry["cutoff"] = clip(sweep.cutoff, 128)
    if sweep.mode == "DryRun" and (samples := key_texts(sweep.samples)):
        entry["sampleKeys"] = samples
    if (proposal := proposal_of(sweep)) is not None:
        entry["proposal"] = proposal
    return entry


def _read(entry: object) -> Sweep | None:
    """The inverse of :func:`last_of`; None for an entry that this version cannot read."""
    if not isinstance(entry, Mapping):
        return None
    tick = parse_time(entry.get("tick"))
    try:
        state = SweepState(entry.get("state", ""))
        counts: dict[str, Any] = {name: int(entry.get(name, 0)) for name in (*COUNTS, *({"stale"} & entry.keys()))}
    except (ValueError, TypeError):
        return None
    if tick is None or not entry.get("id"):
        return None
    return Sweep(
        id=str(entry["id"]),
        tick=tick,
        plan=_NO_PLAN,
        mode=str(entry.get("mode", "Enforce")),
        state=state,
        reason=str(entry.get("reason", "")),
        message=str(entry.get("message", "")),
        cutoff=entry.get("cutoff"),
        started=parse_time(entry.get("startTime")) or 0.0,
        finished=parse_time(entry.get("completionTime")),
        capped=bool(entry.get("capped", False)),
        stopped="",  # known to the queue only
        **{"samples": tuple(parse_key(text) for text in entry.get("sampleKeys") or ()), **_proposed(entry), **counts},
    )


def _proposed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the entry's proposal says of the sweep; of a dry run the entry itself has all keys."""
    read = read_proposal(entry.get("proposal"))
    if "sampleKeys" in entry:
        read.pop("samples", None)
    return read
