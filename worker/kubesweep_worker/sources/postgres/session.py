"""The settings of a transaction: ours, and those under which the user's sql, triggers and defaults run."""

from __future__ import annotations

from kubesweep.api.plan import Plan
from kubesweep_worker.sources.conditions import quote_name, quote_pg, quote_text
from kubesweep_worker.sources.postgres.pool import Transaction

SESSION = ("TimeZone", "DateStyle", "IntervalStyle", "search_path")


def is_utc(zone: str) -> bool:
    return zone.upper().removeprefix("ETC/") in ("UTC", "UCT", "ZULU", "UNIVERSAL", "GMT", "GMT0", "GREENWICH")


async def read_session(tx: Transaction) -> dict[str, str]:
    """The settings under which the user's sql runs."""
    [[found]] = await tx.run(f"SELECT {', '.join(f'current_setting({quote_text(name)})' for name in SESSION)}")
    return dict(zip(SESSION, map(str, found), strict=True))


def settings(plan: Plan) -> tuple[str, ...]:
    """LOCAL, in every transaction: behind a pooler the next one may run in another session."""
    return (
        f"SET LOCAL lock_timeout = {max(1, round(plan.source.lock_timeout * 1000))}",
        f"SET LOCAL statement_timeout = {max(1, round(plan.source.statement_timeout * 1000))}",
        # A worker that hangs between the write and its commit must not hold the rows for ever.
        # On a busy machine it is no hang to take longer than a short statementTimeout between two statements.
        f"SET LOCAL idle_in_transaction_session_timeout = {max(10_000, round(plan.source.statement_timeout * 1000))}",
        "SET LOCAL standard_conforming_strings = on",
        "SET LOCAL quote_all_identifiers = off",  # the catalogue's names of types are compared with ours
        "SET LOCAL jit = off",  # compiling costs more than any of our statements
    )


# What Python, stamps and values are read under.
OURS = ("SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO, MDY'", "SET LOCAL IntervalStyle = 'postgres'")


def theirs(plan: Plan) -> tuple[str, ...]:
    """What the user's sql, triggers and defaults run under. DEFAULT is what the login gets, whoever used the session before."""
    session = plan.source.session
    named = {
        "TimeZone": session.time_zone,
        "DateStyle": session.date_style,
        "IntervalStyle": session.interval_style,
    }
    path = ", ".join(map(quote_name, session.search_path)) or "DEFAULT"
    return (
        *(f"SET LOCAL {name} = {'DEFAULT' if value is None else quote_pg(value)}" for name, value in named.items()),
        f"SET LOCAL search_path = {path}",
    )
