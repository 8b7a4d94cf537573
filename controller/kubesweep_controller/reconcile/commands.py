"""Annotations that act: each value (nonce) is obeyed once and then echoed in status.handled.

An order is echoed after it was obeyed, so a crash between the two repeats it; each is written to bear that. A trigger is
a wish that the queue grants once under that name; an approval frees only the sweep that a person could have seen; a replay
finds nothing left to try; a purge forgets at most what died in that moment, and a later tick finds it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubesweep.queue.model import OpenResult, SweepState
from kubesweep.queue.service import QueueService
from kubesweep.scheduling import trigger_request
from kubesweep_controller.status.conditions import suspended
from kubesweep_controller.status.formatting import GROUP, rows
from kubesweep_controller.status.history import previous
from kubesweep_controller.status.observation import Facts
from kubesweep_controller.status.reasons import Reason

__all__ = ["Obeyed", "Order", "OrderKind", "obey", "pending_orders"]

MAX_NONCE = 1024


class OrderKind(StrEnum):
    """The part of the annotation after ``kubesweep.dev/``, in the order in which they are obeyed."""

    PURGE = "purge-dead-letters"
    RETRY = "retry-dead-letters"
    APPROVE = "approve"
    TRIGGER = "trigger"


_FIELDS = {
    OrderKind.PURGE: "purgeDeadLetters",
    OrderKind.RETRY: "retryDeadLetters",
    OrderKind.APPROVE: "approve",
    OrderKind.TRIGGER: "trigger",
}


@dataclass(frozen=True)
class Order:
    kind: OrderKind
    nonce: str

    @property
    def field(self) -> str:
        """Its name in status.handled."""
        return _FIELDS[self.kind]


@dataclass(frozen=True)
class Obeyed:
    """What became of an order, for an Event."""

    order: Order
    reason: Reason
    sentence: str


def pending_orders(facts: Facts) -> tuple[Order, ...]:
    """The orders that were not obeyed yet. A trigger waits until the spec is valid; the others need no spec."""
    annotations = (facts.body.get("metadata") or {}).get("annotations") or {}
    handled = previous(facts).get("handled") or {}
    found = []
    for kind in OrderKind:
        nonce = _nonce(annotations, kind)
        order = Order(kind, nonce)
        if nonce and handled.get(order.field) != nonce and (kind is not OrderKind.TRIGGER or facts.plan is not None):
            found.append(order)
    return tuple(found)


def _nonce(annotations: Mapping[str, object], kind: OrderKind) -> str:
    return str(annotations.get(f"{GROUP}/{kind}") or "")[:MAX_NONCE]


async def obey(queue: QueueService, facts: Facts, order: Order) -> Obeyed:
    """Carry out one order. Raises Outage: then it stays pending."""
    match order.kind:
        case OrderKind.TRIGGER:
            reason, sentence = await _trigger(queue, facts, order.nonce)
        case OrderKind.APPROVE:
            reason, sentence = await _approve(queue, facts)
        case OrderKind.RETRY:
            number = await queue.replay(facts.ref)
            reason, sentence = Reason.DEAD_LETTERS_RETRIED, f"{_are(number)} tried again"
        case OrderKind.PURGE:
            number = await queue.purge(facts.ref)
            reason = Reason.DEAD_LETTERS_PURGED
            sentence = f"{_are(number)} forgotten; a later sweep finds those that are still stale"
    return Obeyed(order, reason, sentence)


def _are(number: int) -> str:
    return f"{rows(number)} {'is' if number == 1 else 'are'}"


async def _trigger(queue: QueueService, facts: Facts, nonce: str) -> tuple[Reason, str]:
    if suspended(facts):
        return Reason.REQUEST_REFUSED, "not triggered: the schedule is suspended"
    if facts.plan is None:
        return Reason.REQUEST_REFUSED, "not triggered: the spec is refused"
    opened = await queue.open_sweep(facts.ref, trigger_request(facts.plan, nonce, facts.now))
    if opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and opened.sweep:
        return Reason.TRIGGERED, f"sweep {opened.sweep} is started"
    if opened.answer is OpenResult.FORBIDDEN:
        return Reason.REQUEST_REFUSED, f"not triggered: sweep {opened.sweep} is not finished yet"
    return Reason.REQUEST_REFUSED, f"not triggered: the queue answers {opened.answer}"


async def _approve(queue: QueueService, facts: Facts) -> tuple[Reason, str]:
    seen = previous(facts).get("lastSweep") or {}
    latest = facts.stats.sweep if facts.stats is not None else None
    if seen.get("state") == SweepState.AWAITING_APPROVAL and latest is not None and latest.id != seen.get("id"):
        return Reason.REQUEST_REFUSED, f"nothing to approve: sweep {seen.get('id')} is over"
    sweep = await queue.approve(facts.ref, latest.id if latest is not None else None)
    if sweep is None:
        return Reason.REQUEST_REFUSED, "nothing to approve: no sweep is Held"
    return Reason.APPROVED, f"sweep {sweep} goes on, with the cutoff that it had"
