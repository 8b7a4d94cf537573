"""The status of a SweepSchedule from what one look found. Pure.

It is written only where it says something new: conditions, orders and the beginnings and ends of sweeps at once, numbers
and the wording of messages at most every ``COUNT_INTERVAL`` seconds. A status built from its own output and the same facts
is that output. While the queue is away its last numbers stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubesweep.durations import parse_duration
from kubesweep.queue.model import HISTORY, ErrorGroup, Stats, Sweep, SweepState
from kubesweep.text import clip
from kubesweep_controller.reconcile.commands import Command
from kubesweep_controller.status.active_schedule import active_schedule
from kubesweep_controller.status.conditions.build_conditions import conditions
from kubesweep_controller.status.conditions.degraded import approval_message
from kubesweep_controller.status.formatting import generation_of, parse_time, time_text
from kubesweep_controller.status.history import key_texts, last_of, past_of, previous, sweeps_of
from kubesweep_controller.status.missed_ticks import counts_of, last_tick, missed_ever
from kubesweep_controller.status.observation import Observation

__all__ = ["COUNT_INTERVAL", "build_status"]

COUNT_INTERVAL = 15.0
OFTEN = 60.0  # a schedule that ticks more often than this has its sweeps told like numbers
BLINK = 10.0  # seconds without the queue that are nobody's business
MAX_GROUPS = 20
_DIGITS = re.compile(r"[0-9]+")


def build_status(observation: Observation, results: Sequence[Command] = ()) -> dict[str, Any]:
    """The whole status. Equal to the one in ``facts.body`` where there is nothing to write now.

    ``obeyed`` are the orders that were carried out in this look: their nonces are echoed. A field that has no value is
    left out, so the result replaces the status as a whole.
    """
    before = dict(previous(observation))
    if not results and _blink(observation, before):
        return before
    status = _whole(observation, before, results)
    if _told(status) == _told({name: value for name, value in before.items() if name != "countedTime"}):
        return before
    if observation.stats is None:
        return _counted(status, before) if _urgent(observation, status, before) else before
    counted = parse_time(before.get("countedTime"))
    if _urgent(observation, status, before) or counted is None or not 0 <= observation.now - counted < COUNT_INTERVAL:
        return status | {"countedTime": time_text(int(observation.now))}
    return before


def _blink(observation: Observation, before: Mapping[str, Any]) -> bool:
    """The queue is away for a moment, as when it is started anew: no reason to tell it of every schedule, and to take it back."""
    known = bool(before.get("conditions")) and before.get("observedGeneration") == generation_of(observation.body)
    return observation.outage is not None and observation.outage_seconds < BLINK and known


def _told(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status without the digits of its messages: what others say has ports, times and request ids in it, which are new at
    each look; a number of ours stands in a field as well."""
    conditions = [
        each | {"message": _DIGITS.sub("", str(each.get("message")))} for each in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}


def _counted(status: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return status | ({"countedTime": before["countedTime"]} if "countedTime" in before else {})


def _whole(observation: Observation, before: Mapping[str, Any], results: Sequence[Command]) -> dict[str, Any]:
    sweeps = sweeps_of(observation)
    missed = missed_ever(observation)
    status: dict[str, Any] = {
        "observedGeneration": generation_of(observation.body),
        "conditions": conditions(observation, missed),
        "activeSchedule": active_schedule(observation),
        "lastScheduleTime": _time(last_tick(observation)),
        "lastSuccessfulTime": _last_success(sweeps, before),
        "lastMissedTime": _time(missed),
        "lastSweep": _last_sweep(observation, sweeps[0]) if sweeps else None,
        "history": [past_of(sweep) for sweep in sweeps[1 : HISTORY + 1]] or None,
        "plan": observation.plan.version.hash if observation.plan is not None else before.get("plan"),
        "handled": _handled(before, results),
        "servedBy": before.get("servedBy"),
    }
    if observation.stats is None:
        numbers = {name: before.get(name) for name in ("queue", "oldestReadyTime", "ticks", "errors")}
    else:
        numbers = _numbers(observation.stats, observation.groups)
    return {name: value for name, value in (status | numbers).items() if value is not None}


def _last_sweep(observation: Observation, sweep: Sweep) -> dict[str, Any]:
    """Workers advise those who have a command line; here is kubectl."""
    if sweep.state is SweepState.AWAITING_APPROVAL:
        sweep = msgspec.structs.replace(sweep, message=approval_message(observation, sweep))
    return last_of(sweep)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)


def _last_success(sweeps: tuple[Sweep, ...], before: Mapping[str, Any]) -> str | None:
    ends = [sweep.finished for sweep in sweeps if sweep.succeeded and sweep.finished is not None]
    known = parse_time(before.get("lastSuccessfulTime"))
    latest = max([*ends, *(() if known is None else (known,))], default=None)
    return None if latest is None else time_text(int(latest))


def _handled(before: Mapping[str, Any], results: Sequence[Command]) -> dict[str, str] | None:
    echoed = dict(before.get("handled") or {}) | {command.field: command.nonce for command in results}
    return echoed or None


def _numbers(stats: Stats, groups: Sequence[ErrorGroup]) -> dict[str, Any]:
    return {
        "queue": {"ready": stats.ready, "running": stats.running, "delayed": stats.delayed, "dead": stats.dead},
        "oldestReadyTime": None if stats.oldest_ready is None else time_text(int(stats.oldest_ready)),
        "ticks": counts_of(stats.ticks),
        "errors": [_group(group) for group in groups[:MAX_GROUPS]] or None,
    }


def _group(group: ErrorGroup) -> dict[str, Any]:
    return {
        "error": clip(group.error, 128),
        "count": group.count,
        "message": clip(group.message, 1024),
        "firstTime": time_text(int(group.first)),
        "lastTime": time_text(int(group.last)),
        "sampleKeys": key_texts(group.samples[:3]),
    }


def _urgent(observation: Observation, status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    every = observation.schedule.spec.every if observation.schedule is not None else None
    often = every is not None and parse_duration(every) < OFTEN
    return _essence(status, often) != _essence(before, often)


def _essence(status: Mapping[str, Any], often: bool) -> tuple[object, ...]:
    said = [
        (each.get("type"), each.get("status"), each.get("reason"), each.get("observedGeneration"))
        for each in status.get("conditions") or ()
    ]
    sweep = status.get("lastSweep") or {}
    state = sweep.get("state")
    open_ = state in (SweepState.PLANNING, SweepState.RUNNING)
    latest = None if often else (sweep.get("id"), "open" if open_ else state)
    return status.get("observedGeneration"), said, status.get("handled"), status.get("lastMissedTime"), latest
