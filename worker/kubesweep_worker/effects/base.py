"""What the sweep asks of an effect: one row, at least once, always under the same key."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from kubesweep.errors import KubesweepError, RowError
from kubesweep.queue.model import MESSAGE, Key, key_text
from kubesweep.text import clip


class NotBegun(KubesweepError):
    """The worker stops, and this row's effect has not begun: the row goes back as it is."""


def always() -> None:
    """For a delivery that nothing holds back."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row on its way to the effect."""

    key: Key
    values: Mapping[str, Any]
    idempotency_key: str
    cutoff: str
    attempt: int
    sweep: str
    begin: Callable[[], None] = always  # called right before the effect, where it runs; raises NotBegun


class Effect(Protocol):
    """A webhook or a handler, safe for many calls at once."""

    @property
    def leaked(self) -> int:
        """Calls that ran into their timeout and still hold a thread."""
        ...

    def check(self) -> None:
        """Raises SweepFailure where the effect can never work (a handler that is not importable), Outage where it
        cannot now (a Secret with headers that is not there)."""
        ...

    async def probe(self) -> None:
        """``check``, and what else can be asked before any row is there. Raises what ``check`` does."""
        ...

    async def ask(self) -> int | None:
        """Talk to the receiver without any effect; the status of its answer, None for a handler. Raises Outage."""
        ...

    async def start(self) -> None:
        """Make ready; called before each sub-batch. Raises what ``check`` does, before any row is in the air."""
        ...

    async def close(self) -> None: ...

    async def deliver(self, delivery: Delivery) -> None:
        """Raises Skip, RowError (Reject, RetryAfter), or Outage."""
        ...


def idempotency_key(uid: str, key: Key, stamp: tuple[str | None, ...]) -> str:
    """The same for the same staleness of the same row: across retries, ticks and a lost queue. A row that turns stale
    again has other values in ``stamp`` and so a new key."""
    try:
        space = uuid.UUID(uid)
    except ValueError:
        space = uuid.uuid5(uuid.NAMESPACE_URL, uid)
    return str(uuid.uuid5(space, key_text(key) + "\n" + msgspec.json.encode(stamp).decode()))


def as_row_error(error: BaseException) -> RowError:
    """An effect's exception under its own class name; the text is its own, cut to what a dead letter takes."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException as broken:  # an error that cannot say what it is
        text = f"{name}, whose text cannot be read ({type(broken).__name__})"
    return RowError(name, clip(text or name, MESSAGE))
