"""Health samples on an open transaction: one for each namespace and database, and whose turn it is to measure."""

from __future__ import annotations

import sqlite3

from kubesweep.queue.model import TURN, Sample, ScheduleRef, SharedSample, parse_sample, to_json
from kubesweep.queue.sqlite.records import statements


def share_sample(
    con: sqlite3.Connection, now: float, where: ScheduleRef, consumer: str, sample: Sample | None
) -> SharedSample:
    values = {"prefix": where.prefix, "consumer": consumer, "now": now, "until": now + TURN, "most": now + 2 * TURN}
    con.execute(statements("health")["take_turn"], values)
    if sample is not None:
        con.execute(statements("health")["store"], values | {"sample": to_json(sample)})
    owner, stored, at = con.execute(statements("health")["find"], values).fetchone()
    return SharedSample(parse_sample(stored), max(0.0, now - at), owner == consumer)
