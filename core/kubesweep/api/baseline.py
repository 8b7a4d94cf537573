"""The baseline of a plan in a database: what a later sweep is compared with.

It covers which rows are stale and what kind of work is done on them. The key columns, the limits and the values that are written
are not part of it: an edit of those sweeps the same rows. Hashes must not change with a new version of Kubesweep, because each
schedule with ``limits.approveAbove`` would then await approval once, so they are made of the plan's lean JSON.

Two spellings of one predicate have the same hash: conditions in another order or twice, values in another order, a default that is
written out, and other blanks or comments in SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubesweep.api.models.sql_text import normal_sql
from kubesweep.api.plan import Plan
from kubesweep.queue.model import Baseline, Database

__all__ = ["baseline_of"]


def baseline_of(plan: Plan, database: Database, since: float) -> Baseline:
    """``since``: when the sweep started, in seconds since the epoch."""
    # Decoded first, so that 5 and 5.0 in a float field have the same hash.
    body = msgspec.json.decode(Plan.from_json(plan.to_json()).to_json())
    source = body["source"]
    return Baseline(
        table=_hash([source.get("schema"), source["table"]]),
        match=_hash([_conditions(body["match"]), plan.source.zone, source.get("session")]),
        write=_write(plan),
        effect=_effect(plan),
        database=database,
        since=since,
    )


def _conditions(matches: Sequence[Mapping[str, Any]]) -> list[str]:
    """All conditions must be true, whatever their order."""
    return sorted({_text({**each, "sql": normal_sql(each["sql"])} if "sql" in each else each) for each in matches})


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _write(plan: Plan) -> str:
    if plan.write is None:
        return "none"
    if not plan.write.deletes:
        return "update"
    return "archive" if plan.write.archive is not None else "delete"


def _effect(plan: Plan) -> str:
    if plan.effect is None:
        return "none"
    return "webhook" if plan.effect.webhook is not None else "handler"


def _hash(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()[:16]
