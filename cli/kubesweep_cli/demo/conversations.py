"""What happens to a stale conversation before its row is changed: its customer is told.

The "carrier" of this demo is a file: each message becomes a line of notifications.log. It refuses the numbers in
refused-numbers.txt; empty that file, and it is repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kubesweep_worker.handlers import Context, Row, handler

FOLDER = Path(__file__).parent


class CarrierRefused(Exception):
    """Anything that a handler raises is a failed attempt at this one row; its class names the dead letters' group."""


@dataclass(frozen=True)
class Carrier:
    outbox: TextIO
    refused: frozenset[str]


@contextmanager
def carrier() -> Iterator[Carrier]:
    """Opened once per worker, closed when it stops: the place for an HTTP client or a connection pool."""
    refused = frozenset((FOLDER / "refused-numbers.txt").read_text().split())
    # Line by line: a message has left before its row is changed, whatever happens next.
    with (FOLDER / "notifications.log").open("a", buffering=1) as outbox:
        yield Carrier(outbox, refused)


@handler(lifespan=carrier)
async def notify(row: Row, ctx: Context) -> None:
    """Tell the customer. The key is the same however often this row is tried, so the receiver can drop repetitions."""
    to: Carrier = ctx.state
    if row["from_number"] in to.refused:
        raise CarrierRefused("550 the carrier refuses this number")
    to.outbox.write(f"{ctx.idempotency_key} {ctx.schedule} {row['from_number']} {row['session_key']}\n")
