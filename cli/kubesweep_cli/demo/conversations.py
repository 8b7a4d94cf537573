"""The effect for a stale conversation before its row changes: notify the customer.

The "carrier" of this demo is a file: each message becomes a line of notifications.log. It refuses the numbers in
refused-numbers.txt. Empty that file to make it accept all numbers.
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
    """Any exception of a handler is a failed attempt for this one row. Dead letters are grouped by its class."""


@dataclass(frozen=True)
class Carrier:
    outbox: TextIO
    refused: frozenset[str]


@contextmanager
def open_carrier() -> Iterator[Carrier]:
    """Opened once for each worker, and closed when it stops: the place for an HTTP client or a connection pool."""
    refused = frozenset((FOLDER / "refused-numbers.txt").read_text().split())
    # Line-buffered: a message is written before its row changes.
    with (FOLDER / "notifications.log").open("a", buffering=1) as outbox:
        yield Carrier(outbox, refused)


@handler(lifespan=open_carrier)
async def notify(row: Row, ctx: Context) -> None:
    """Notify the customer. All attempts for a row have the same key, so the receiver can drop repetitions."""
    carrier: Carrier = ctx.state
    if row["from_number"] in carrier.refused:
        raise CarrierRefused("550 the carrier refuses this number")
    carrier.outbox.write(f"{ctx.idempotency_key} {ctx.schedule} {row['from_number']} {row['session_key']}\n")
