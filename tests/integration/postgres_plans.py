"""Plans for tests of the Postgres source."""

from __future__ import annotations

from typing import Any

from kubesweep.api.plan import Assignment, Match, Plan, Source, Write

STALE = (Match("in", "status", ("pending",)), Match("before", "expires_at", offset=60.0))


CLOSE = Write(update=(Assignment("status", value="expired"),))


def make_plan(**changes: Any) -> Plan:
    source = changes.pop("source", Source(table="things"))
    return Plan(
        **{
            "namespace": "default",
            "name": "close",
            "uid": "u",
            "source": source,
            "match": STALE,
            "write": CLOSE,
            **changes,
        }
    )
