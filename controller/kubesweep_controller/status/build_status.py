"""Builds the status of a SweepSchedule from one observation. Pure.

A status is written only where it has news. Conditions, commands, the start and end of sweeps and the first numbers of each are
written at once, other numbers and the wording of messages at most every ``COUNT_INTERVAL`` seconds. A status that is built from its own output and the same
observation equals that output. While the queue is down, its last numbers stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubesweep.proposal import key_texts
from kubesweep.queue.model import ACTIVE_SESSIONS, AHEAD, HISTORY, ErrorGroup, Stats, Sweep, SweepState
from kubesweep.text import clip
from kubesweep_controller.status.active_schedule import active_schedule
from kubesweep_controller.status.backlog import backlog_status
from kubesweep_controller.status.baseline import baseline_status
from kubesweep_controller.status.commands import CommandResult, answers
from kubesweep_controller.status.conditions.build_conditions import build_conditions
from kubesweep_controller.status.conditions.degraded import approval_message
from kubesweep_controller.status.formatting import generation_of, parse_time, time_text
from kubesweep_controller.status.history import COUNTS, last_of, past_of, previous, sweeps_of
from kubesweep_controller.status.missed_ticks import counts_of, last_tick, missed_ever
from kubesweep_controller.status.observation import Observation, ticks_often
from kubesweep_controller.status.signals import signals_of
from kubesweep_controller.status.throttle import essence, throttle_of

__all__ = ["COUNT_INTERVAL", "build_status"]

COUNT_INTERVAL = 15.0  # seconds
SHORT_OUTAGE = 10.0  # seconds without the queue that are not reported
MAX_GROUPS = 20
_DIGITS = re.compile(r"[0-9]+")


def build_status(observation: Observation, results: Sequence[CommandResult] = ()) -> dict[str, Any]:
    """The whole status. It equals the one in ``observation.body`` where nothing needs to be written now.

    ``results`` are those of the commands that this reconcile executed, for ``status.handled`` and ``status.answers``. A field without
    a value is left out, so the result replaces the status as a whole.
    """
    before = dict(previous(observation))
    if not results and _is_short_outage(observation, before):
        return before
    status = _whole(observation, before, results)
    if _comparable(status) == _comparable({name: value for name, value in before.items() if name != "countedTime"}):
        return before
    if observation.stats is None:
        return _counted(status, before) if _urgent(observation, status, before) else before
    counted = parse_time(before.get("countedTime"))
    if _urgent(observation, status, before) or counted is None or not 0 <= observation.now - counted < COUNT_INTERVAL:
        return status | {"countedTime": time_text(int(observation.now))}
    return before


def _is_short_outage(observation: Observation, before: Mapping[str, Any]) -> bool:
    """The queue restarts, for example. Every schedule would report the outage and take it back seconds later."""
    known = bool(before.get("conditions")) and before.get("observedGeneration") == generation_of(observation.body)
    return observation.outage is not None and observation.outage_seconds < SHORT_OUTAGE and known


def _comparable(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status without the digits in its messages. Messages of other systems contain ports, times and request ids that differ each
    time, and every number of ours is in a field too."""
    conditions = [
        each | {"message": _DIGITS.sub("", str(each.get("message")))} for each in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}


def _counted(status: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return status | ({"countedTime": before["countedTime"]} if "countedTime" in before else {})


def _whole(observation: Observation, before: Mapping[str, Any], results: Sequence[CommandResult]) -> dict[str, Any]:
    sweeps, missed = sweeps_of(observation), missed_ever(observation)
    conditions = build_conditions(observation, missed)
    status: dict[str, Any] = {
        "observedGeneration": generation_of(observation.body),
        "conditions": conditions.entries,
        "readyCode": clip(conditions.ready_code, 128) or None,
        "activeSchedule": active_schedule(observation),
        "lastScheduleTime": _time(last_tick(observation)),
        "lastSuccessfulTime": _last_success(sweeps, before),
        "lastMissedTime": _time(missed),
        "resumedTime": _resumed(observation, before),
        "throttle": throttle_of(observation, before),
        "signals": signals_of(observation, before),
        "backlog": backlog_status(observation, before),
        "lastSweep": _last_sweep(observation, sweeps[0]) if sweeps else None,
        "history": [past_of(sweep) for sweep in sweeps[1 : HISTORY + 1]] or None,
        "baseline": baseline_status(observation),
        "plan": observation.plan.version.hash if observation.plan is not None else before.get("plan"),
        "handled": _handled(before, results),
        "answers": answers(before, results, observation.now),
        "servedBy": before.get("servedBy"),
    }
    if observation.stats is None:
        numbers = {name: before.get(name) for name in ("queue", "oldestReadyTime", "ticks", "errors")}
    else:
        numbers = _numbers(observation.stats, observation.groups)
    return {name: value for name, value in (status | numbers).items() if value is not None}


def _last_sweep(observation: Observation, sweep: Sweep) -> dict[str, Any]:
    """The latest sweep. A worker's message about an approval names the command line; here it also names kubectl."""
    if sweep.state is SweepState.AWAITING_APPROVAL:
        sweep = msgspec.structs.replace(sweep, message=approval_message(observation, sweep))
    return last_of(sweep)


def _resumed(observation: Observation, before: Mapping[str, Any]) -> str | None:
    """A queue that lost its data does not know it any more. A time that is ahead was written before the clock was set back."""
    resumed = None if observation.stats is None else observation.stats.resumed
    if resumed is None:
        known = parse_time(before.get("resumedTime"))
        resumed = known if known is not None and known <= observation.now + AHEAD else None
    return None if resumed is None else time_text(int(resumed))


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)


def _last_success(sweeps: tuple[Sweep, ...], before: Mapping[str, Any]) -> str | None:
    ends = [sweep.finished for sweep in sweeps if sweep.succeeded and sweep.finished is not None]
    known = parse_time(before.get("lastSuccessfulTime"))
    latest = max([*ends, *(() if known is None else (known,))], default=None)
    return None if latest is None else time_text(int(latest))


def _handled(before: Mapping[str, Any], results: Sequence[CommandResult]) -> dict[str, str] | None:
    executed = {each.command.field: each.command.nonce for each in results}
    echoed = dict(before.get("handled") or {}) | executed
    return echoed or None


def _numbers(stats: Stats, groups: Sequence[ErrorGroup]) -> dict[str, Any]:
    return {
        "queue": {"ready": stats.queued, "running": stats.running, "delayed": stats.delayed, "dead": stats.dead},
        "oldestReadyTime": time_text(int(stats.oldest_ready))
        if stats.queued and stats.oldest_ready is not None
        else None,
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
    frequent = ticks_often(observation)
    return _essence(status, frequent) != _essence(before, frequent)


def _essence(status: Mapping[str, Any], frequent: bool) -> tuple[object, ...]:
    summaries = [
        (each.get("type"), each.get("status"), each.get("reason"), each.get("observedGeneration"))
        for each in status.get("conditions") or ()
    ]
    sweep = status.get("lastSweep") or {}
    state = sweep.get("state")
    open_ = state in (SweepState.PLANNING, SweepState.RUNNING)
    latest = None if frequent else (sweep.get("id"), _begun(sweep) if open_ else state)
    fields = ("observedGeneration", "handled", "lastMissedTime", "baseline")
    throttle = status.get("throttle") or {}
    usual = throttle.get("reason") == ACTIVE_SESSIONS  # an application comes and goes each few seconds
    return summaries, latest, essence({} if usual else throttle), *(status.get(name) for name in fields)


def _begun(sweep: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether an open sweep has planned rows, and whether any have an outcome: each is news once."""
    planned, *outcomes = (bool(sweep.get(name)) for name in COUNTS)
    return planned, any(outcomes)
