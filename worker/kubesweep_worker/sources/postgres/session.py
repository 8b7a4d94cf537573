"""The settings of a transaction: those of Kubesweep, and those under which the user's sql, triggers and defaults run."""

from __future__ import annotations

from kubesweep.api.plan import Plan
from kubesweep_worker.sources.conditions import quote_name, quote_text
from kubesweep_worker.sources.postgres.dialect import quote_pg
from kubesweep_worker.sources.postgres.pool import Transaction

SESSION = ("TimeZone", "DateStyle", "IntervalStyle", "search_path")


def is_utc(zone: str) -> bool:
    return zone.upper().removeprefix("ETC/") in ("UTC", "UCT", "ZULU", "UNIVERSAL", "GMT", "GMT0", "GREENWICH")


async def read_session(tx: Transaction) -> dict[str, str]:
    """The settings under which the user's sql runs."""
    [[found]] = await tx.run(f"SELECT {', '.join(f'current_setting({quote_text(name)})' for name in SESSION)}")
    return dict(zip(SESSION, map(str, found), strict=True))


def settings(plan: Plan) -> tuple[str, ...]:
    """LOCAL and in every transaction, because behind a pooler the next one may run in another session."""
    return (
        f"SET LOCAL lock_timeout = {max(1, round(plan.source.lock_timeout * 1000))}",
        f"SET LOCAL statement_timeout = {max(1, round(plan.source.statement_timeout * 1000))}",
        # A worker that hangs between the write and its COMMIT must not keep the rows locked for ever. The minimum is there
        # because a busy machine may take longer than a short statementTimeout between two statements.
        f"SET LOCAL idle_in_transaction_session_timeout = {max(10_000, round(plan.source.statement_timeout * 1000))}",
        "SET LOCAL standard_conforming_strings = on",
        "SET LOCAL quote_all_identifiers = off",  # the names of types in the catalog are compared with constants
        "SET LOCAL jit = off",  # compiling costs more than these statements
    )


# The settings under which values and stamps are read into Python.
READ_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, MDY'",
    "SET LOCAL IntervalStyle = 'postgres'",
)


def user_settings(plan: Plan) -> tuple[str, ...]:
    """The settings of the user's sql, triggers and defaults. DEFAULT resets a setting that another user of the session changed."""
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
