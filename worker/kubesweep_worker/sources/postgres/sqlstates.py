"""What each SQLSTATE of PostgreSQL means for a sweep. Data: no decision depends on the text of a message.

Every code of the server's list (errcodes.txt) is decided, by its class or individually; docs/errors.md shows the same table.
A code of no class below comes from RAISE ... USING ERRCODE in a trigger, and concerns its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    SWEEP = "the sweep Fails"
    OUTAGE = "outage"
    ROW = "the row is refused"
    DEFECT = "a defect of Kubesweep"


# Reasons of outages that a write isolates: they may be about one slow or locked row.
LOCKED, DEADLOCK, STATEMENT_TIMEOUT = "Locked", "Deadlock", "StatementTimeout"
NO_IDENTITY = "NoReplicaIdentity"


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    reason: str  # of the condition or finding; for a row it is the error's name
    why: str


def _sweep(reason: str, why: str) -> Decision:
    return Decision(Verdict.SWEEP, reason, why)


def _outage(reason: str, why: str) -> Decision:
    return Decision(Verdict.OUTAGE, reason, why)


def _row(why: str) -> Decision:
    return Decision(Verdict.ROW, "", why)


def _defect(why: str) -> Decision:
    return Decision(Verdict.DEFECT, "WorkerDefect", why)


UNKNOWN = _row("chosen by RAISE ... USING ERRCODE in a trigger")

CLASSES: dict[str, Decision] = {
    "00": _row("success; as an error only chosen by RAISE in a trigger"),
    "01": _row("a warning; as an error only chosen by RAISE in a trigger"),
    "02": _row("a function of the application found no data"),
    "03": _row("a function of the application"),
    "08": _outage("ConnectionLost", "the connection broke, of a row through dblink or a foreign table too"),
    "09": _row("a trigger's action failed"),
    "0A": _sweep("Unsupported", "the server does not support the statement on this table"),
    "0B": _defect("the sweep's own transactions are in order"),
    "0F": _row("a large object that a function of the application uses"),
    "0L": _sweep("PermissionDenied", "a trigger grants what the role may not grant"),
    "0P": _sweep("PermissionDenied", "a setting names a role that does not exist"),
    "0Z": _row("a function's own handling of errors"),
    "10": _row("XQuery of a function of the application"),
    "20": _row("CASE without ELSE in a function met a value that it does not list"),
    "21": _row("a subquery or function gave several rows for this one"),
    "22": _row("a value of this row does not fit"),
    "23": _row("a constraint refuses this row"),
    "24": _row("a cursor of a function of the application"),
    "25": _defect("the sweep's own transactions are in order"),
    "26": _defect("no prepared statement is used"),
    "27": _row("a trigger changed this row while it was written"),
    "28": _sweep("AuthenticationFailed", "the login's user or password is not accepted"),
    "2B": _row("a function of the application drops what others depend on"),
    "2D": _row("a function of the application ends the transaction"),
    "2F": _row("a function of the application failed"),
    "34": _row("a cursor of a function of the application"),
    "38": _row("a function of the application failed"),
    "39": _row("a function of the application was called wrongly for this row"),
    "3B": _row("a savepoint of a function of the application"),
    "3D": _sweep("DatabaseMissing", "the login names a database that does not exist"),
    "3F": _sweep("TableMissing", "a schema that does not exist"),
    "40": _outage("Conflict", "the transaction lost against another one"),
    "42": _sweep("SqlInvalid", "the statement does not fit the table"),
    "44": _row("a view's WITH CHECK OPTION refuses this row"),
    "53": _outage("NoResources", "the server is short of something"),
    "54": _row("a value too long for its index, a row for its page, or a recursion: it would be so at each try"),
    "55": _sweep("NotPermittedNow", "an object is not in the state that the write needs"),
    "57": _outage("Interrupted", "an administrator or the server ended the statement"),
    "58": _outage("InputOutput", "the server's disk or files"),
    "72": _outage("Conflict", "an old snapshot was given up"),
    "F0": _outage("NotReady", "the server's configuration file"),
    "HV": _sweep("ForeignTable", "the definition of a foreign table does not fit the other side"),
    "P0": _row("RAISE, or a check, in a function of the application"),
    "XX": _row("an internal error, or damaged data, of these rows; a whole table of them halts the sweep"),
}

CODES: dict[str, Decision] = {
    "25006": _sweep("ReadOnly", "the login leads to a standby, or the role's default is read-only"),
    "25P03": _outage("ConnectionLost", "the worker was away for longer than its transaction may idle"),
    "25P04": _outage(STATEMENT_TIMEOUT, "the transaction took longer than the server's transaction_timeout"),
    "40P01": _outage(DEADLOCK, "two transactions waited for each other; a write is isolated"),
    "428C9": _sweep("GeneratedColumn", "write.update sets a column that the database generates"),
    "42501": _sweep("PermissionDenied", "a GRANT is missing; from WITH CHECK of row-level security it is the row's"),
    "42703": _sweep("ColumnMissing", "a column was dropped or renamed"),
    "42P01": _sweep("TableMissing", "the table was dropped or renamed"),
    "53100": _outage("DiskFull", "the server's disk is full"),
    "53200": _outage("OutOfMemory", "the server is out of memory"),
    "53300": _outage("TooManyConnections", "no connection is free"),
    "55006": _outage(LOCKED, "an object is in use"),
    "55P03": _outage(LOCKED, "another transaction holds a lock for longer than lockTimeout; a write is isolated"),
    "55P04": _outage("Conflict", "an enum's new value is not committed yet"),
    "57014": _outage(STATEMENT_TIMEOUT, "longer than statementTimeout, or cancelled; a write is isolated"),
    "57P01": _outage("ConnectionLost", "the server is shut down"),
    "57P02": _outage("ConnectionLost", "another server process crashed"),
    "57P03": _outage("NotReady", "the server starts or stops"),
    "57P05": _outage("ConnectionLost", "the server ended an idle session"),
    "HV000": _outage("ForeignTable", "the other side of a foreign table failed"),
    "HV001": _outage("OutOfMemory", "the foreign-data wrapper is out of memory"),
    "HV00K": _outage("ForeignTable", "the other side's reply is unusable"),
    "HV00L": _outage("ForeignTable", "the other side does not execute"),
    "HV00M": _outage("ForeignTable", "the other side does not reply"),
    "HV00N": _outage("ForeignTable", "the other side cannot be reached"),
    "HV014": _outage("NoResources", "too many handles of the foreign-data wrapper"),
}

# The function of PostgreSQL that raised the error (field R of its protocol, the same in every language) distinguishes the
# meanings of one SQLSTATE. An error that a trigger raises itself concerns its row, whatever code it chose.
RAISED = frozenset({"exec_stmt_raise"})  # RAISE in PL/pgSQL
# Other languages pass on the errors of their queries with the same function, so an outage remains an outage.
PASSED_ON = frozenset(
    {"PLy_elog", "PLy_elog_impl", "plperl_call_perl_func", "plperl_call_perl_trigger_func", "throw_tcl_error"}
)
OF_ROWS = frozenset({("42501", "ExecWithCheckOptions")})  # WITH CHECK of row-level security
SPECIAL: dict[tuple[str, str | None], Decision] = {
    ("55000", "CheckCmdReplicaIdentity"): _sweep(NO_IDENTITY, "the table is published, and its rows have no identity")
}


def decide(state: str, function: str | None = None) -> Decision:
    """``function``: the function of the server that raised it, where it is known."""
    found = CODES.get(state) or CLASSES.get(state[:2], UNKNOWN)
    passed_on = function in PASSED_ON and found.verdict is not Verdict.OUTAGE
    if function in RAISED or passed_on or (state, function) in OF_ROWS:
        return UNKNOWN
    return SPECIAL.get((state, function), found)
