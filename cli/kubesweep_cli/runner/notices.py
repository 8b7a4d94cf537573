"""Which notices ``kubesweep run --notify`` posts: one when a schedule turns Degraded, awaits approval, or recovers.

A notice has names, codes and counts. It never has a row's key or data, and never the message of a database or a receiver, which may
contain some. Each problem is announced once: the queue keeps what was delivered in a finding of kind ``Notified``, which the next run reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import msgspec

from kubesweep.errors import Outage
from kubesweep.quantities import are_dead_letters
from kubesweep.queue.model import Finding, Sweep, SweepState
from kubesweep.queue.service import QueueService
from kubesweep.timestamps import time_text
from kubesweep_cli.runner.progress import ScheduleProgress
from kubesweep_cli.shell.schedule_names import typed_name
from kubesweep_cli.shell.state_paths import program
from kubesweep_cli.views import formatting
from kubesweep_cli.views.schedule_view import outcomes
from kubesweep_controller.status.conditions.reasons import Reason

__all__ = ["Notice", "NoticeSender", "NoticeState", "Notices"]

KIND = "Notified"  # of the finding, and its reason


class NoticeState(StrEnum):
    DEGRADED = "Degraded"
    AWAITING_APPROVAL = "AwaitingApproval"
    RECOVERED = "Recovered"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notice, with the field names of its JSON. docs/notices.md describes them."""

    state: NoticeState
    namespace: str
    schedule: str
    reasons: tuple[str, ...]  # what holds now, the most pressing first; with Recovered: what is over
    text: str
    time: str
    dead: int  # rows that are dead letters
    sweep: dict[str, Any] | None  # the latest


class NoticeSender(Protocol):
    def send(self, notice: Notice, delivered: Callable[[], None]) -> None:
        """Deliver in the background. ``delivered`` is called once the receiver has accepted the notice."""
        ...

    async def drain(self) -> None:
        """Return when no notice waits, or after some seconds."""
        ...


class Notices:
    """``queue_option``: the part of printed commands that names the queue."""

    def __init__(self, queue: QueueService, sender: NoticeSender, queue_option: str = "") -> None:
        self._queue, self._sender, self._queue_option = queue, sender, queue_option
        # By uid: the reasons that need no further notice, those of them that were delivered, and those that the queue has.
        self._announced: dict[str, tuple[str, ...]] = {}
        self._delivered: dict[str, tuple[str, ...]] = {}
        self._reported: dict[str, tuple[str, ...]] = {}

    async def observe(self, schedules: Sequence[ScheduleProgress], now: float) -> None:
        """Announce what is new since the last call."""
        for one in schedules:
            self._announce(one, now)
            await self._report(one)

    async def close(self, schedules: Sequence[ScheduleProgress]) -> None:
        """Wait for notices on their way, for some seconds, and record them."""
        await self._sender.drain()
        for one in schedules:
            await self._report(one)

    def _announce(self, one: ScheduleProgress, now: float) -> None:
        uid = one.ref.uid
        if uid not in self._announced:
            self._announced[uid] = self._delivered[uid] = self._reported[uid] = kept = _kept(one)
            one.restore(lost=Reason.LOST in kept, missed=Reason.MISSED_SCHEDULE in kept)
        before = self._announced[uid]
        found = dict(_problems(one, Reason.DEAD_LETTERS in before, self._queue_option))
        self._announced[uid] = reasons = tuple(found)
        if found.keys() - set(before):
            self._post(_notice(one, now, reasons, " ".join(found.values())), uid, reasons)
        elif before and not found:
            self._post(_recovered(one, now, before), uid, ())
        else:
            self._delivered[uid] = tuple(each for each in self._delivered[uid] if each in found)

    def _post(self, notice: Notice, uid: str, reasons: tuple[str, ...]) -> None:
        self._sender.send(notice, partial(self._delivered.__setitem__, uid, reasons))

    async def _report(self, one: ScheduleProgress) -> None:
        """Record what was delivered, for the next run. An older record is left where another process wrote a newer one."""
        uid, delivered = one.ref.uid, self._delivered[one.ref.uid]
        if delivered == self._reported[uid] or not one.stats.known:
            return
        with suppress(Outage):  # the next step reports it
            await self._queue.report(one.ref, Finding(KIND, True, KIND, ",".join(delivered), one.plan.version))
            self._reported[uid] = delivered


def _kept(one: ScheduleProgress) -> tuple[str, ...]:
    """The reasons that the queue remembers as announced."""
    known = next((each.message for each in one.stats.findings if each.kind == KIND), "")
    return tuple(filter(None, known.split(",")))


def _problems(one: ScheduleProgress, retried: bool, queue_option: str) -> Iterator[tuple[str, str]]:
    """What holds now: reasons with a sentence each, the most pressing first. The reasons are those of the condition Degraded.

    ``retried``: dead letters were announced, so those that are being retried count until none is left.
    """

    def command(name: str) -> str:
        return f"{program()} {name} {typed_name(one.ref)}{queue_option}"

    sweep, decided = one.sweep, one.decided
    if sweep is not None and sweep.state is SweepState.AWAITING_APPROVAL:
        why = f" ({sweep.reason})" if sweep.reason else ""
        yield Reason.AWAITING_APPROVAL, f"{_name(sweep)} awaits approval{why}. To approve it: {command('approve')}."
    if decided is not None and decided.state in (SweepState.FAILED, SweepState.HALTED):
        ended = "was halted" if decided.state is SweepState.HALTED else "failed"
        yield Reason.LAST_SWEEP_FAILED, f"{_name(decided)} {ended} ({decided.reason}). For more: {command('status')}."
    if one.recovering:
        yield Reason.LOST, "The queue lost a sweep that was running; another one finds the rows that are still stale."
    if one.missed is not None:
        yield (
            Reason.MISSED_SCHEDULE,
            f"The tick of {time_text(one.missed)} started no sweep; the next one covers its rows.",
        )
    if one.stats.dead:
        yield Reason.DEAD_LETTERS, f"{are_dead_letters(one.stats.dead)}. To list them: {command('dead list')}."
    elif retried and one.stats.excluded:
        yield Reason.DEAD_LETTERS, f"Dead letters are being retried; {formatting.rows(one.stats.excluded)} still to go."


def _name(sweep: Sweep) -> str:
    return f"The sweep of {time_text(int(sweep.tick))}"


def _notice(one: ScheduleProgress, now: float, reasons: tuple[str, ...], sentences: str) -> Notice:
    awaits = Reason.AWAITING_APPROVAL in reasons
    state = NoticeState.AWAITING_APPROVAL if awaits else NoticeState.DEGRADED
    return _about(one, now, state, reasons, f"{one.name}: {state}. {sentences}")


def _recovered(one: ScheduleProgress, now: float, over: tuple[str, ...]) -> Notice:
    verb = "is" if len(over) == 1 else "are"
    return _about(one, now, NoticeState.RECOVERED, over, f"{one.name}: Recovered. {', '.join(over)} {verb} over.")


def _about(one: ScheduleProgress, now: float, state: NoticeState, reasons: tuple[str, ...], text: str) -> Notice:
    sweep = one.sweep
    return Notice(
        state=state,
        namespace=one.ref.namespace,
        schedule=one.ref.name,
        reasons=tuple(str(each) for each in reasons),
        text=text,
        time=time_text(int(now)),
        dead=one.stats.dead,
        sweep=None
        if sweep is None
        else {
            "id": sweep.id,
            "tick": time_text(sweep.tick),
            "mode": sweep.mode,
            "state": str(sweep.state),
            "reason": sweep.reason,
            "planned": sweep.planned,
            **dict(outcomes(sweep)),
        },
    )
