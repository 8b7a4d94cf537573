"""Facts and answers become a proposal: the fields of a schedule, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.check_document import StaleCount
from kubesweep.quantities import count
from kubesweep_cli.init.answers import Answers, Condition, Write
from kubesweep_worker.sources.children import CHANGES
from kubesweep_worker.sources.facts import ColumnFacts, TableFacts

__all__ = ["Field", "Proposal", "approval", "changed_children", "propose", "values_text"]

LEAST_APPROVED = 1000  # rows of a sweep that never awaits approval
MOST_APPROVED = 100_000
VARIABLE = "DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Field:
    """A value, and why it is proposed."""

    value: Any
    why: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """``source`` has its fields without the URL; ``url`` is the entry of the Secret."""

    about: str
    name: str
    timing: tuple[str, Field]
    source: Mapping[str, Field]
    match: tuple[Field, ...]
    effect: Field | None
    write: Field | None
    url: Field


def propose(table: TableFacts, answers: Answers, url: str) -> Proposal:
    """``url``: the text of the Secret's entry, without a password."""
    schema = f"{table.schema}." if table.schema else ""
    rows = f"about {count(table.rows)} rows" if table.rows >= 0 else "never analyzed, so the number of rows is unknown"
    why = "cron in UTC" if answers.period.field == "schedule" else "5s to 24h; or schedule with a cron expression"
    return Proposal(
        about=f"{schema}{table.table}, {rows}",
        name=answers.name,
        timing=(answers.period.field, Field(answers.period.text, why)),
        source=_source(table, answers),
        match=_match(table, answers),
        effect=_effect(answers),
        write=_write(table, answers),
        url=Field(url, f"the variable {VARIABLE}, or --url" if VARIABLE in url else ""),
    )


def approval(stale: StaleCount | None) -> Field:
    """limits.approveAbove.rows. ``stale``: the rows that match now, None where they could not be counted."""
    if stale is None or stale.more:
        found = f"more than {count(stale.rows)} rows match" if stale else "the rows that match were not counted"
        return Field(MOST_APPROVED, f"{found}: a larger sweep awaits approval, maybe the first one too")
    digits = 10 ** max(0, len(str(2 * stale.rows)) - 2)
    rows = max(LEAST_APPROVED, -(-2 * stale.rows // digits) * digits)
    return Field(rows, f"{count(stale.rows)} match now: a sweep of more than {count(rows)} awaits approval")


def changed_children(table: TableFacts) -> list[str]:
    """What a delete does to rows of other tables, as sentences."""
    return [each.sentence for each in table.children if each.action in CHANGES]


def values_text(column: ColumnFacts) -> str:
    """The values, with about how many rows have each."""
    counts = column.counts or {}
    return ", ".join(f"{value} {count(counts[value])}" if value in counts else value for value in column.values)


def _source(table: TableFacts, answers: Answers) -> dict[str, Field]:
    fields = {"schema": Field(table.schema)} if table.schema else {}
    fields["table"] = Field(table.table)
    key = table.keys[0]
    if key != table.primary:
        fields["key"] = Field(list(key), "unique and NOT NULL; the table has no usable primary key")
    if answers.time_zone:
        fields["naiveTimeZone"] = Field(answers.time_zone, f"in which {answers.time} is written")
    return fields


def _match(table: TableFacts, answers: Answers) -> tuple[Field, ...]:
    found = [_condition(table.columns[each.column], each) for each in answers.where]
    if answers.time is not None:
        column = table.columns[answers.time]
        value = {"column": column.name, "before": f"now-{answers.age}" if answers.age else "now"}
        unit = {"unit": column.unit} if column.unit else {}
        why = "" if column.not_null else "; NULL is never stale"
        found.append(Field({**value, **unit}, f"{column.type}{why}"))
    return (*found, *_ends(table, answers))


def _condition(column: ColumnFacts, condition: Condition) -> Field:
    if condition.is_null is not None:
        return Field({"column": column.name, "isNull": condition.is_null})
    return Field({"column": column.name, "in": list(condition.values)}, values_text(column))


def _ends(table: TableFacts, answers: Answers) -> list[Field]:
    """A condition that a row no longer meets once it is written; without one, a sweep would never end."""
    write = answers.action.write
    used = {answers.time, *(each.column for each in answers.where)}
    if write is None or not write.set or any(column in used for column, _ in write.set):
        return []
    column, value = write.set[0]
    why = "rows that are written no longer match"
    if value.lower() == "null" or table.columns[column].moment:
        return [Field({"column": column, "isNull": value.lower() != "null"}, why)]
    null = "" if table.columns[column].not_null else ", and NULL never does"
    return [Field({"column": column, "notIn": [value]}, f"{why}{null}")]


def _effect(answers: Answers) -> Field | None:
    action = answers.action
    if action.webhook:
        return Field({"webhook": {"url": action.webhook}}, "a POST for each row, at least once, before the write")
    if action.handler:
        return Field({"handler": action.handler}, "called for each row, at least once, before the write")
    return None


def _write(table: TableFacts, answers: Answers) -> Field | None:
    write = answers.action.write
    if write is None:
        return None
    if write.set:
        return Field({"update": [_assignment(table, column, value) for column, value in write.set]})
    return _delete(table, write, accept=answers.accept_children)


def _delete(table: TableFacts, write: Write, *, accept: bool) -> Field:
    value: dict[str, Any] = {}
    if write.archive:
        schema, name = write.archive
        value["archiveTo"] = {**({"schema": schema} if schema else {}), "table": name}
    changed = changed_children(table)
    if accept and changed:
        value["children"] = "accept"
    return Field({"delete": value}, "; ".join(changed) if accept else "")


def _assignment(table: TableFacts, column: str, value: str) -> dict[str, Any]:
    if value.lower() == "null":
        return {"column": column, "sql": "NULL"}
    if value.lower() == "now" and table.columns[column].moment and table.database == "postgresql":
        return {"column": column, "sql": "now()"}
    return {"column": column, "value": value}
