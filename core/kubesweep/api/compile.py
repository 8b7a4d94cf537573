"""Compiles a SweepSchedule to a Plan: every default filled in, and every duration in seconds. Never fails on a valid model."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubesweep.api import plan
from kubesweep.api.models import actions, spec
from kubesweep.api.models import source as source_model
from kubesweep.api.models.types import before_offset
from kubesweep.durations import parse_duration
from kubesweep.queue.model import LOCAL, ScheduleRef


def compile_plan(
    schedule: spec.SweepSchedule, *, uid: str | None = None, generation: int | None = None, install: str = LOCAL
) -> plan.Plan:
    """The plan. ``uid`` and ``generation`` default to the metadata's. Without any, the uid is derived from the name."""
    meta, body = schedule.metadata, schedule.spec
    known = uid or meta.uid or ScheduleRef.local(meta.namespace, meta.name).uid
    return plan.Plan(
        install=install,
        namespace=meta.namespace,
        name=meta.name,
        uid=known,
        generation=meta.generation if generation is None else generation,
        mode=body.mode,
        source=_source(body.source, body.effect is not None),
        match=tuple(_match(each) for each in body.match),
        effect=_effect(body.effect) if body.effect else None,
        write=_write(body.write) if body.write else None,
        limits=_limits(body.limits),
        retry=plan.RetryPolicy(
            max_attempts=body.retry.max_attempts,
            backoff=parse_duration(body.retry.backoff),
            max_backoff=parse_duration(body.retry.max_backoff),
        ),
        retention=parse_duration(body.dead_letters.retention),
        halt_above=body.dead_letters.halt_above,
        concurrency=body.worker.concurrency,
        max_replicas=body.worker.max_replicas,
        jobs_per_replica=body.worker.jobs_per_replica,
    )


def _limits(limits: spec.RowLimits) -> plan.RowLimits:
    above = limits.approve_above
    return plan.RowLimits(
        batch_rows=limits.batch_rows,
        batch_time=parse_duration(limits.batch_time),
        # A float, as in the plan's JSON: otherwise the two would have different hashes.
        rows_per_second=None if limits.rows_per_second is None else float(limits.rows_per_second),
        max_rows_per_sweep=limits.max_rows_per_sweep,
        approve_above_rows=above.rows if above else None,
        approve_above_share=above.share if above else None,
        approve_above_times_median=above.times_median if above else None,
    )


def _source(source: source_model.Source, has_effect: bool) -> plan.Source:
    health = source.health.limits if source.health else None
    if health is not None and has_effect:  # it waits for its receiver most of the time
        health = msgspec.structs.replace(health, yields=False)
    return plan.Source(
        table=source.table,
        schema=source.schema_name,
        key=tuple(source.key),
        lock_timeout=parse_duration(source.lock_timeout),
        statement_timeout=parse_duration(source.statement_timeout),
        naive_time_zone=source.naive_time_zone,
        session=_session(source.session) if source.session else plan.Session(),
        health=health,
    )


def _session(session: source_model.Session) -> plan.Session:
    return plan.Session(
        time_zone=session.time_zone,
        date_style=session.date_style,
        interval_style=session.interval_style,
        search_path=tuple(session.search_path or ()),
    )


def _set(values: Sequence[str]) -> tuple[str, ...]:
    """The values of a set: their order, and one that is named twice, change neither the plan nor its hash."""
    return tuple(sorted(set(values)))


def _match(match: source_model.Match) -> plan.Match:
    if match.sql is not None:
        return plan.Match(op="sql", sql=match.sql)
    column = match.column or ""
    if match.in_ is not None:
        return plan.Match(op="in", column=column, values=_set(match.in_))
    if match.not_in is not None:
        return plan.Match(op="notIn", column=column, values=_set(match.not_in))
    if match.before is not None:
        return plan.Match(op="before", column=column, offset=before_offset(match.before), unit=match.unit or "")
    if match.after is not None:
        return plan.Match(op="after", column=column, offset=before_offset(match.after), unit=match.unit or "")
    if match.less_than is not None:
        return plan.Match(op="lessThan", column=column, values=(match.less_than,))
    if match.greater_than is not None:
        return plan.Match(op="greaterThan", column=column, values=(match.greater_than,))
    return plan.Match(op="isNull", column=column, is_null=bool(match.is_null))


def _effect(effect: actions.Effect) -> plan.Effect:
    hook = effect.webhook
    return plan.Effect(
        columns=tuple(effect.columns),
        key=tuple(effect.key),
        concurrency=effect.concurrency,
        timeout=parse_duration(effect.timeout),
        handler=effect.handler,
        webhook=plan.Webhook(
            url=hook.url,
            timeout=parse_duration(hook.timeout),
            headers_secret=hook.headers_from.secret_ref.name if hook.headers_from else None,
            batch_rows=hook.batch_rows,
            sign_with=f"{hook.sign_with.secret_key_ref.name}/{hook.sign_with.secret_key_ref.key}"
            if hook.sign_with
            else None,
        )
        if hook
        else None,
    )


def _write(write: actions.Write) -> plan.Write:
    archive = write.delete.archive_to if write.delete else None
    return plan.Write(
        update=tuple(plan.Assignment(each.column, each.value, each.sql) for each in write.update or ()),
        archive=plan.Archive(archive.table, archive.schema_name, archive.lossy) if archive else None,
        children=write.delete is not None and write.delete.children == "accept",
    )
