"""Turn an error of PostgreSQL into an exception of Kubesweep. sqlstates.py has the decisions, this module the messages. Pure."""

from __future__ import annotations

from kubesweep.errors import KubesweepError, Outage, RowError, ScopeOutage, SweepFailure
from kubesweep.queue.model import MESSAGE
from kubesweep.text import clip
from kubesweep_worker.sources.postgres.sqlstates import (
    DEADLOCK,
    LOCKED,
    NO_IDENTITY,
    STATEMENT_TIMEOUT,
    Verdict,
    decide,
)

# A statement for fewer rows may avoid these: fewer locks, less time, less memory.
SCOPE = frozenset({LOCKED, DEADLOCK, STATEMENT_TIMEOUT, "Conflict", "OutOfMemory"})
HINTS = {
    "TableMissing": "Was it dropped or renamed? Correct spec.source.",
    "ColumnMissing": "Was it dropped or renamed? Correct the spec.",
    "PermissionDenied": "Grant the right to the role.",
    "ReadOnly": "Connect to the primary, or set default_transaction_read_only = off for the role.",
    "DatabaseMissing": "Correct the name of the database.",
    "AuthenticationFailed": "Correct the user or password.",
    "SqlInvalid": "Correct the sql of the spec; `kubesweep check --sql` shows the exact statement.",
    NO_IDENTITY: "ALTER TABLE ... REPLICA IDENTITY USING INDEX, or FULL; `kubesweep check --sql` shows the exact statement.",
}


class StatementRefused(SweepFailure):
    """A SweepFailure with the server's refusal as a field, for messages that give a hint of their own."""

    def __init__(self, reason: str, refusal: str, hint: str = "") -> None:
        super().__init__(reason, clip(f"{refusal}. {hint}".strip(), MESSAGE))
        self.refusal = refusal


def without_values(state: str, text: str) -> str:
    """The text without row data: errors of class 22 quote the value that was refused."""
    if state.startswith("22"):
        return text.split(': "', 1)[0]
    return text


def classify(
    state: str | None, text: str, error: str, *, function: str | None = None, maybe_applied: bool = False
) -> KubesweepError:
    """``error``: the error class, by which dead letters are grouped. ``text``: the server's primary message. ``function``: the
    function of the server that raised it."""
    if state is None:
        return Outage(
            "ConnectionLost", clip(f"the database's connection broke: {text}", MESSAGE), maybe_applied=maybe_applied
        )
    decision = decide(state, function)
    match decision.verdict:
        case Verdict.ROW:
            return RowError(error, clip(without_values(state, text), MESSAGE))
        case Verdict.SWEEP:
            return StatementRefused(
                decision.reason, f"the database refuses ({state}): {text}", HINTS.get(decision.reason, "")
            )
        case Verdict.DEFECT:
            return SweepFailure(
                decision.reason, clip(f"a statement of Kubesweep failed ({state}): {text}. Report it.", MESSAGE)
            )
        case Verdict.OUTAGE:
            text = f"the database cannot do it now ({state}): {text}"
            kind = ScopeOutage if decision.reason in SCOPE and not maybe_applied else Outage
            return kind(decision.reason, clip(text, MESSAGE), maybe_applied=maybe_applied)


CONNECT_TEXTS = (
    ("password authentication failed", "AuthenticationFailed"),
    ("no password supplied", "AuthenticationFailed"),
    ("no pg_hba.conf entry", "AuthenticationFailed"),
    ("authentication failed for user", "AuthenticationFailed"),
    ("is not permitted to log in", "AuthenticationFailed"),
)


def classify_connect(text: str, shown: str) -> KubesweepError:
    """Classify a refused connection by libpq's English text, because libpq passes on no SQLSTATE for it. This is the only place
    that parses a message. A server with another language gives an Outage, which each probe reports again.

    ``shown``: the text for people, without the password, which may be a word that decides here.
    """
    line = clip("; ".join(" ".join(one.split()) for one in shown.splitlines() if one.strip()), 500)
    for part, reason in CONNECT_TEXTS:
        if part in text:
            return SweepFailure(reason, f"the database refuses the connection: {line}. {HINTS[reason]}")
    if 'database "' in text and "does not exist" in text:
        return SweepFailure("DatabaseMissing", f"{line}. {HINTS['DatabaseMissing']}")
    if 'role "' in text and "does not exist" in text:
        return SweepFailure("AuthenticationFailed", f"{line}. {HINTS['AuthenticationFailed']}")
    return Outage("Unreachable", f"no connection to the database: {line}")
