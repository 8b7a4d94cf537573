"""The Effect protocol: deliver one row, or many in one call, at least once, always under the same Idempotency-Key."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import msgspec

from kubesweep.errors import KubesweepError, Outage, RowError, Skip, SweepFailure
from kubesweep.queue.model import MESSAGE, Key, key_text
from kubesweep.text import clip


class NotStarted(KubesweepError):
    """The worker stops before this row's effect starts: the row is released as it is."""


class EffectOutage(Outage):
    """An Outage of the effect's receiver, as opposed to one of the database with the same reason."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(outage.reason, str(outage), retry_after=outage.retry_after)


class EffectFailure(SweepFailure):
    """A SweepFailure of the effect, as opposed to one of the source: it can never work before an edit."""


class BatchRefused(KubesweepError):
    """The receiver refused a call for many rows, and the answer does not say which row is the cause."""


RowOutcome = RowError | Skip | None
"""How one row of a call went: None is success."""


Record = Callable[[float, str], None]
"""Called at the end of each call with the seconds that it took and the class of its answer, one of those in recorder.py."""


def unrecorded(seconds: float, answer: str) -> None:
    """The ``Record`` of an effect that is used without a worker."""


def always() -> None:
    """The ``begin`` of a delivery that nothing prevents."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row on its way to the effect."""

    key: Key
    values: Mapping[str, Any]
    idempotency_key: str
    cutoff: str
    attempt: int
    sweep: str
    begin: Callable[[], None] = always  # called right before the effect, where it runs; raises NotStarted


class Effect(Protocol):
    """A webhook or a handler, safe for concurrent calls."""

    @property
    def leaked(self) -> int:
        """Calls that timed out and still occupy a thread."""
        ...

    def check(self) -> None:
        """Raises EffectFailure where the effect can never work (a handler that cannot be imported), Outage where it cannot
        work now (the Secret with its headers does not exist)."""
        ...

    async def probe(self) -> None:
        """``check``, and what else can be verified without a row. Raises the same."""
        ...

    async def ask(self) -> int | None:
        """Send a request that has no effect; returns the status of the answer, None for a handler. Raises Outage."""
        ...

    async def start(self) -> None:
        """Prepare for deliveries; called before each sub-batch. Raises the same as ``check``."""
        ...

    async def close(self) -> None: ...

    async def deliver(self, delivery: Delivery) -> None:
        """Raises Skip, RowError (Reject, RetryAfter), or Outage."""
        ...


@runtime_checkable
class BatchEffect(Protocol):
    """An Effect that can deliver many rows in one call."""

    async def deliver_batch(self, deliveries: Sequence[Delivery]) -> Sequence[RowOutcome]:
        """The outcome of each row, in the order of ``deliveries``, which have one ``cutoff`` and ``attempt``.

        Raises BatchRefused, for more than one row only: each row is to be delivered in a call of its own. Raises Outage.
        """
        ...


def idempotency_key(uid: str, key: Key, stamp: tuple[str | None, ...]) -> str:
    """The key of one row and one staleness: the same across retries, ticks and a lost queue. A row that turns stale again has
    other values in ``stamp``, and so a new key. It is the UUID of version 5 (RFC 9562) of both in the space ``uid``."""
    name = key_text(key).encode() + b"\n" + msgspec.json.encode(stamp)
    text = hashlib.sha1(_space(uid) + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


@functools.lru_cache(maxsize=16)
def _space(uid: str) -> bytes:
    try:
        return uuid.UUID(uid).bytes
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_URL, uid).bytes


def as_row_error(error: BaseException) -> RowError:
    """An effect's exception as a RowError with its class name and its text, shortened to the length of a dead letter's message."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException as broken:  # the exception's own __str__ fails
        text = f"{name}, whose text cannot be read ({type(broken).__name__})"
    return RowError(name, clip(text or name, MESSAGE))
