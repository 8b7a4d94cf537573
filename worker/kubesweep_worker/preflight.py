"""Checks a schedule before its first sweep: the database, the effect and, if asked, a write that is rolled back and a request.

``kubesweep check`` runs it on a laptop, ``kubesweep-worker check`` in a pod. It changes nothing and does not read the queue. Its result is
a document (:mod:`kubesweep.check_document`), which contains errors too, so no error is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from kubesweep.api.plan import Plan
from kubesweep.check_document import (
    CheckDocument,
    CheckedEffect,
    CheckedStatements,
    CheckedTable,
    CheckError,
    CheckResult,
    CheckWarning,
    StaleCount,
    TriedWrite,
    result_of,
)
from kubesweep.errors import KubesweepError, Outage, RowError, SpecError, SweepFailure
from kubesweep.quantities import rows
from kubesweep.queue.model import plain_key
from kubesweep_worker.effects import Effect
from kubesweep_worker.sources.base import Explanation, InspectableSource, Predicate, Range, Table, Tried
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.reconnecting import is_wrong_url

__all__ = ["Options", "preflight"]

SAMPLES = 5
TRY_ROWS = 10
COUNT_MOST = 100_000  # rows that are counted exactly
REFUSALS = frozenset(
    {401, 403, 404, 407, 410, *range(500, 600)}
)  # answers that a receiver is unlikely to mean for OPTIONS only


@dataclass(frozen=True, slots=True)
class Options:
    try_write: bool = False  # write a few rows and roll that back
    probe: bool = False  # send a request without an effect to the receiver


@dataclass(slots=True)
class _Findings:
    """What was found out so far."""

    table: Table
    explained: Explanation
    stale: int | None = None  # None: not counted
    samples: tuple[str, ...] = ()
    tried: Tried | None = None
    refused: RowError | None = None  # the database refused the tried write
    timed_out: str = ""  # the step that took longer than spec.source.statementTimeout


async def preflight(
    plan: Plan, source: InspectableSource, open_effect: Callable[[], Effect | None], options: Options
) -> CheckDocument:
    """Check ``plan`` with its ``source`` and effect, and close both."""
    effect, status, reached = None, None, False
    try:
        await source.probe()
        reached = True
        effect = open_effect()
        if effect is not None:
            await effect.probe()
            status = await effect.ask() if options.probe else None
        found = await _inspect(source, options)
    except KubesweepError as error:
        return _failed(plan, error, reached=reached)
    finally:
        if effect is not None:
            await effect.close()
        await source.close()
    return _document(plan, found, status)


async def _inspect(source: InspectableSource, options: Options) -> _Findings:
    table, cutoff = await source.inspect(), await source.now()
    found = _Findings(table, await source.explain(cutoff))
    step = "counting the stale rows"
    try:
        found.stale = await source.count(Predicate(cutoff), COUNT_MOST + 1)
        if found.stale:
            samples = await source.stale(Range(), Predicate(cutoff), SAMPLES)
            found.samples = tuple(plain_key(row.key) for row in samples)
        step = "trying the write"
        if options.try_write:
            await _try_write(source, found, cutoff)
    except Outage as outage:
        if not timed_out(outage):
            raise
        found.timed_out = step
    return found


async def _try_write(source: InspectableSource, found: _Findings, cutoff: str) -> None:
    try:
        found.tried = await source.try_write(cutoff, TRY_ROWS)
    except RowError as error:
        found.refused = error


def _failed(plan: Plan, error: KubesweepError, *, reached: bool) -> CheckDocument:
    """``reached``: the database responded before. Without that, a wrong password counts as unreachable too, but not a wrong URL."""
    if isinstance(error, Outage) or not (reached or is_wrong_url(error)):
        result = CheckResult.UNREACHABLE
    else:
        result = CheckResult.INVALID if isinstance(error, (SpecError, SweepFailure)) else CheckResult.FAILED
    found = CheckError(reason=str(getattr(error, "reason", "")), message=str(error))
    return _empty(plan, result, error=found)


def _empty(plan: Plan, result: CheckResult, error: CheckError | None = None) -> CheckDocument:
    version = plan.version.hash
    return CheckDocument(
        namespace=plan.namespace, name=plan.name, mode=plan.mode, plan=version, result=result, error=error
    )


def _document(plan: Plan, found: _Findings, status: int | None) -> CheckDocument:
    warnings = (*_table_warnings(found), *_write_warnings(found), *_receiver_warnings(status))
    table, stale = found.table, found.stale
    document = msgspec.structs.replace(
        _empty(plan, CheckResult.PASSED),
        table=CheckedTable(
            name=table.name,
            key=table.key,
            rows_estimate=table.rows_estimate,
            session=dict(table.session),
            children=table.children,
        ),
        stale=None if stale is None else _stale(stale, found.samples),
        effect=_effect(plan, status),
        tried=None if found.tried is None else _tried(found.tried),
        warnings=warnings,
        statements=_statements(found.explained),
    )
    return msgspec.structs.replace(document, result=result_of(warnings, fails=document.fails))


def _stale(count: int, samples: tuple[str, ...]) -> StaleCount:
    return StaleCount(rows=min(count, COUNT_MOST), more=count > COUNT_MOST, sample_keys=samples)


def _effect(plan: Plan, status: int | None) -> CheckedEffect | None:
    if plan.effect is None:
        return None
    if plan.effect.handler:
        return CheckedEffect(handler=plan.effect.handler)
    hook = plan.effect.webhook
    return None if hook is None else CheckedEffect(host=urlsplit(hook.url).hostname or "", status=status)


def _tried(tried: Tried) -> TriedWrite:
    return TriedWrite(
        rows=tried.tried,
        would_apply=tried.would_apply,
        still_stale=tried.still_stale,
        refused=tried.refused,
        why=tried.why,
    )


def _statements(explained: Explanation) -> CheckedStatements:
    return CheckedStatements(
        plan=explained.plan_sql,
        stale=explained.stale_sql,
        write=explained.write_sql,
        query_plan=explained.plan_text,
        rows_estimate=explained.rows_estimate,
    )


def _table_warnings(found: _Findings) -> Iterator[CheckWarning]:
    for code, sentence in found.table.warnings:
        yield CheckWarning(code=code, message=sentence)
    advice = found.explained.index_advice
    if advice and not any(code == "no-index" for code, _ in found.table.warnings):
        message = f"finding stale rows reads the whole table; create the index:  {advice}"
        yield CheckWarning(code="no-index", message=message)
    if found.timed_out:
        yield CheckWarning(
            code="StatementTimeout",
            message=f"{found.timed_out} took longer than spec.source.statementTimeout; a sweep then reads the"
            " table page by page along its key, which is slow: create the index, or raise the timeout",
        )


def _write_warnings(found: _Findings) -> Iterator[CheckWarning]:
    if found.refused is not None:
        yield CheckWarning(
            code="refused",
            message="the database refuses the write of a row, which a sweep would keep as a dead letter: "
            f"{found.refused.error}: {found.refused}",
        )
    if found.tried is not None and found.tried.still_stale:
        yield CheckWarning(
            code="NeverEnds",
            message=f"{rows(found.tried.still_stale)} still match after the write, so the sweep would never"
            " end; let spec.write change a column of spec.match",
        )
    if found.tried is not None and found.tried.refused:
        message = f"{rows(found.tried.refused)} stay unchanged. Reason: {found.tried.why}"
        yield CheckWarning(code="WriteRefused", message=message)


def _receiver_warnings(status: int | None) -> Iterator[CheckWarning]:
    if status in REFUSALS:
        yield CheckWarning(
            code="receiver",
            message=f"it answered OPTIONS with {status}; a POST may succeed, but check its URL and its"
            " headers (headersFrom)",
        )
