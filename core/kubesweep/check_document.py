"""What a check found out about one schedule: the document that ``kubesweep check`` and ``kubesweep-worker check`` print as JSON.

A worker makes it (:mod:`kubesweep_worker.preflight`), on a laptop or in a pod. Programs that show it need neither the database nor the
worker's code. It has the keys of a few rows, and no other value of a row. docs/cli.md describes each field. Fields are added, and never
change their meaning.
"""

from __future__ import annotations

from datetime import UTC
from enum import StrEnum
from typing import Any

import msgspec

from kubesweep.text import escaped
from kubesweep.ticks import Cron, Ticks, find_zone
from kubesweep.timestamps import time_text

__all__ = [
    "KIND",
    "CheckDocument",
    "CheckError",
    "CheckResult",
    "CheckWarning",
    "CheckedEffect",
    "CheckedStatements",
    "CheckedTable",
    "StaleCount",
    "TriedWrite",
    "as_fields",
    "document_json",
    "exit_code",
    "parse_document",
    "result_of",
    "with_ticks",
]

KIND = "CheckReport"
TICKS = 3  # that the document has


class CheckResult(StrEnum):
    PASSED = "Passed"
    WARNINGS = "Warnings"  # read them before the first sweep
    FAILED = "Failed"  # the tried write shows that a sweep would not work, or a row cannot be read
    INVALID = "Invalid"  # spec, table or handler do not fit each other
    UNREACHABLE = "Unreachable"  # the database, the receiver, or one of their Secrets


_EXIT_CODES = {
    CheckResult.PASSED: 0,
    CheckResult.WARNINGS: 1,
    CheckResult.FAILED: 1,
    CheckResult.INVALID: 2,
    CheckResult.UNREACHABLE: 3,
}


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fields that are unknown, empty or do not apply are absent."""


class CheckWarning(_Part, frozen=True, kw_only=True):
    code: str  # docs/errors.md
    message: str


class CheckedTable(_Part, frozen=True, kw_only=True):
    name: str  # quoted and qualified
    key: tuple[str, ...]
    rows_estimate: int = -1  # by the database's statistics; negative: unknown
    session: dict[str, str] = msgspec.field(default_factory=dict)  # settings that apply to the user's SQL
    children: tuple[str, ...] = ()  # effects of a delete on rows of other tables, as sentences


class StaleCount(_Part, frozen=True, kw_only=True):
    rows: int = 0
    more: bool = False  # there are more; counting ended there
    sample_keys: tuple[str, ...] = ()


class CheckedEffect(_Part, frozen=True, kw_only=True):
    handler: str | None = None
    host: str | None = None  # of the webhook's URL
    status: int | None = None  # of the receiver's answer to a probe; absent: not probed


class TriedWrite(_Part, frozen=True, kw_only=True):
    rows: int  # to which the write was applied, before it was rolled back
    would_apply: int = 0
    still_stale: int = 0
    refused: int = 0
    why: str = ""  # possible causes of ``refused``


class CheckedStatements(_Part, frozen=True, kw_only=True):
    """The exact SQL, and the database's query plan for the search."""

    plan: str
    stale: str
    write: str | None = None
    query_plan: str = ""
    rows_estimate: int = 0


class CheckError(_Part, frozen=True, kw_only=True):
    """Why the check could not be completed. ``reason``: a code of docs/errors.md; empty where there is none."""

    reason: str = ""
    message: str


class CheckDocument(_Part, frozen=True, kw_only=True):
    kind: str = KIND
    namespace: str
    name: str
    mode: str
    plan: str  # hash
    result: CheckResult
    origin: str = ""  # file:line, where it was read from a file
    error: CheckError | None = None
    table: CheckedTable | None = None
    stale: StaleCount | None = None  # absent: the count took longer than spec.source.statementTimeout
    effect: CheckedEffect | None = None
    suspended: bool | None = None  # absent, like the next fields, where only the plan is known, as in a pod
    next_ticks: tuple[str, ...] | None = None
    time_zone: str | None = None
    tried: TriedWrite | None = None
    warnings: tuple[CheckWarning, ...] = ()
    statements: CheckedStatements | None = None

    @property
    def fails(self) -> bool:
        """True where the tried write shows that a sweep would not work."""
        return self.tried is not None and bool(self.tried.still_stale or self.tried.refused)


def result_of(warnings: tuple[CheckWarning, ...], *, fails: bool) -> CheckResult:
    """The result of a check that was completed."""
    if fails:
        return CheckResult.FAILED
    return CheckResult.WARNINGS if warnings else CheckResult.PASSED


def with_ticks(document: CheckDocument, ticks: Ticks, now: float, *, suspended: bool) -> CheckDocument:
    """The document with the next ticks after ``now`` (seconds since the epoch), and with a warning where there is none."""
    times: list[float] = []
    moment = None if suspended else ticks.next(now)
    while moment is not None and len(times) < TICKS:
        times.append(moment)
        moment = ticks.next(moment)
    warnings, result = document.warnings, document.result
    if not suspended and not times:
        never = "spec.schedule names a time that never comes: correct the day and the month"
        warnings = (CheckWarning(code="never", message=never), *warnings)
        result = CheckResult.WARNINGS if result is CheckResult.PASSED else result
    return msgspec.structs.replace(
        document,
        suspended=suspended,
        next_ticks=tuple(map(time_text, times)),
        time_zone=str(find_zone(ticks.time_zone) if isinstance(ticks, Cron) else UTC),
        warnings=warnings,
        result=result,
    )


def exit_code(document: CheckDocument) -> int:
    """0 passed, 1 a warning, 2 spec, table or handler do not fit, 3 unreachable: as in docs/cli.md."""
    return _EXIT_CODES[document.result]


def as_fields(document: CheckDocument) -> dict[str, Any]:
    """The document as plain data, with the names of its JSON."""
    return {"kind": KIND, **msgspec.json.decode(msgspec.json.encode(document))}


def document_json(document: CheckDocument) -> str:
    """One line of JSON, with ``kind`` at its beginning, so that a reader finds the line in a pod's log."""
    return escaped(msgspec.json.encode(as_fields(document)).decode())


def parse_document(text: str | bytes) -> CheckDocument | None:
    """The inverse of :func:`document_json`; None for any other text, such as a line of a log."""
    try:
        document = msgspec.json.decode(text, type=CheckDocument)
    except msgspec.MsgspecError:
        return None
    return document if document.kind == KIND else None
