"""SQLSTATE -> what to do. Pure: no driver, no text of a server (it may speak any language) decides anything.

States of the server itself that are not listed are outages: trying again is cheap and visible, burying rows is not.
"""

from __future__ import annotations

from kubesweep.errors import KubesweepError, Outage, RowError, SweepFailure

SWEEP = {
    "42P01": "TableMissing",
    "42703": "ColumnMissing",
    "42501": "PermissionDenied",
    "25006": "ReadOnly",
    "3D000": "DatabaseMissing",
    "3F000": "TableMissing",
    "0A000": "Unsupported",
    "428C9": "GeneratedColumn",
    "22023": "ValueInvalid",
}
SWEEP_CLASSES = {"42": "SqlInvalid", "28": "AuthenticationFailed", "3D": "DatabaseMissing", "0A": "Unsupported"}
OUTAGE = {
    "55P03": "Locked",
    "40P01": "Deadlock",
    "40001": "Conflict",
    "57014": "StatementTimeout",
    "57P01": "ConnectionLost",
    "57P02": "ConnectionLost",
    "57P03": "NotReady",
    "53100": "DiskFull",
    "53200": "OutOfMemory",
    "53300": "TooManyConnections",
    "25P03": "ConnectionLost",
}
OUTAGE_CLASSES = {"08": "ConnectionLost", "53": "NoResources", "57": "Interrupted", "40": "Conflict"}
# 54: a value too long for its index, or a row for its page: it would be so at each try.
ROW_CLASSES = frozenset({"22", "23", "27", "44", "P0", "21", "38", "39", "54"})
# What PostgreSQL says by itself (errcodes.txt) and belongs to none of the above. All other classes were chosen by somebody
# who wrote RAISE ... USING ERRCODE in a trigger, about a row: taken for an outage it would hold its sweep for ever.
OTHER_CLASSES = frozenset(
    "00 01 02 03 09 0B 0F 0L 0P 0Z 10 20 24 25 26 2B 2D 2F 34 3B 3F 55 58 72 F0 HV XX".split()  # noqa: SIM905
)
HINTS = {
    "TableMissing": "Was it dropped or renamed? Correct spec.source.",
    "ColumnMissing": "Was it dropped or renamed? Correct the spec.",
    "PermissionDenied": "Grant the right to the role of the URL.",
    "ReadOnly": "Point the URL at the primary, or set default_transaction_read_only = off for the role.",
    "DatabaseMissing": "Correct the database's name in the URL.",
    "AuthenticationFailed": "Correct the user or password in the URL.",
    "ValueInvalid": "Correct the value, or the time zone, in the spec.",
    "SqlInvalid": "Correct the sql of the spec; `kubesweep check -f FILE` shows the exact statement.",
}


def bounded(text: str, most: int = 1024) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def without_values(state: str, text: str) -> str:
    """Errors of class 22 quote the value that was refused: row data stays in the database."""
    if state.startswith("22"):
        return text.split(': "', 1)[0]
    return text


def classify(state: str | None, text: str, error: str, *, maybe_applied: bool = False) -> KubesweepError:
    """``error`` names the error class that dead letters are grouped by; ``text`` is the server's primary message."""
    if state is None:
        return Outage(
            "ConnectionLost", bounded(f"the database's connection broke: {text}"), maybe_applied=maybe_applied
        )
    reason = SWEEP.get(state) or SWEEP_CLASSES.get(state[:2])
    if reason:
        hint = HINTS.get(reason)
        return SweepFailure(reason, bounded(f"the database refuses ({state}): {text}." + (f" {hint}" if hint else "")))
    known = OUTAGE.get(state) or OUTAGE_CLASSES.get(state[:2])
    if state[:2] in ROW_CLASSES or not (known or state[:2] in OTHER_CLASSES):
        return RowError(error, bounded(without_values(state, text)))
    reason = known or "DatabaseError"
    return Outage(reason, bounded(f"the database cannot do it now ({state}): {text}"), maybe_applied=maybe_applied)


CONNECT_TEXTS = (
    ("password authentication failed", "AuthenticationFailed"),
    ("no password supplied", "AuthenticationFailed"),
    ("no pg_hba.conf entry", "AuthenticationFailed"),
    ("authentication failed for user", "AuthenticationFailed"),
    ("is not permitted to log in", "AuthenticationFailed"),
)


def classify_connect(text: str) -> KubesweepError:
    """A refused connection carries no SQLSTATE in libpq: here, and only here, the (English) text is looked at. A server
    that speaks another language makes an Outage of it: said again at each probe, healed all the same."""
    line = bounded("; ".join(" ".join(one.split()) for one in text.splitlines() if one.strip()), 500)
    for part, reason in CONNECT_TEXTS:
        if part in text:
            return SweepFailure(reason, f"the database lets nobody in: {line}. {HINTS[reason]}")
    if 'database "' in text and "does not exist" in text:
        return SweepFailure("DatabaseMissing", f"{line}. {HINTS['DatabaseMissing']}")
    if 'role "' in text and "does not exist" in text:
        return SweepFailure("AuthenticationFailed", f"{line}. {HINTS['AuthenticationFailed']}")
    return Outage("Unreachable", f"no connection to the database: {line}")
