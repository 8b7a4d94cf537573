"""The part of a SweepSchedule that says which rows, and what becomes of them: source, match, effect, write."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.connection import Connection, UrlFrom
from kubesweep.api.models.types import (
    Before,
    ColumnValue,
    Duration,
    Handler,
    Identifier,
    Model,
    ObjectName,
    Sql,
    WebAddress,
    exactly_one,
    refuse,
)
from kubesweep.ticks import find_zone


def known_zone(name: str) -> str:
    try:
        find_zone(name)
    except ValueError as error:
        raise refuse("UnknownTimeZone", str(error)) from None
    return name


def no_repeats(names: list[str]) -> list[str]:
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise refuse("Repeated", f'the column "{twice[0]}" is named twice')
    return names


_TWICE = "names a column twice: remove one"
_NO_REPEATS = cel.schema(cel.distinct(_TWICE))


class Session(Model):
    """PostgreSQL's settings while the sweep's sql, the table's triggers and its defaults run; default what the login gets,
    which `kubesweep check` shows."""

    time_zone: str | None = Field(None, min_length=1, max_length=64, description="TimeZone: an IANA zone.")
    date_style: str | None = Field(
        None,
        min_length=1,
        max_length=16,
        pattern=r"^(ISO|SQL|Postgres|German)(, ?(MDY|DMY|YMD))?$",
        description='DateStyle: such as "ISO, DMY".',
    )
    interval_style: Literal["postgres", "postgres_verbose", "sql_standard", "iso_8601"] | None = Field(
        None, description="IntervalStyle."
    )
    search_path: list[Identifier] | None = Field(
        None, min_length=1, max_length=16, description="Schemas that names without a schema are looked up in, in order."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        return None if name is None else known_zone(name)


class Source(Model):
    """The table that is looked at, and its database: exactly one of urlFrom and connection."""

    model_config = cel.checked(*cel.one_of("urlFrom", "connection"))

    url_from: UrlFrom | None = Field(
        None, description="Where the database's URL (postgresql://... or sqlite:///...) is kept."
    )
    connection: Connection | None = Field(
        None,
        description="A PostgreSQL login from parts, for Secrets that have no URL and passwords that a sidecar refreshes.",
    )
    schema_name: Identifier | None = Field(
        None, alias="schema", description="Schema of the table; default the first of the search path that has it."
    )
    table: Identifier = Field(description="The table, as the database spells it, without quotes.")
    key: list[Identifier] = Field(
        default_factory=list,
        min_length=1,
        max_length=4,
        json_schema_extra=_NO_REPEATS,
        description="1 to 4 columns that are unique and NOT NULL together; default the primary key.",
    )
    lock_timeout: Annotated[str, Duration("1ms", "60s")] = Field(
        "300ms", description="Longest wait for a row that somebody else has locked (1ms to 60s)."
    )
    statement_timeout: Annotated[str, Duration("100ms", "4m")] = Field(
        "30s", description="Longest time that one statement may take (100ms to 4m)."
    )
    naive_time_zone: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="IANA zone that a time column without a zone is written in; default UTC, with a warning where the database's zone is another.",
    )
    session: Session | None = Field(None, description="Settings of the database's session.")

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        exactly_one(self, "urlFrom", "connection")
        return self

    @field_validator("key")
    @classmethod
    def _distinct(cls, names: list[str]) -> list[str]:
        return no_repeats(names)

    @field_validator("naive_time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        return None if name is None else known_zone(name)


_NO_COLUMN = "names no column: add column, such as {column: status, in: [pending]}"
_SQL_ALONE = "sql stands alone: remove column, or write the condition with in, before or isNull"
_OPERATORS = ("in", "notIn", "before", "after", "lessThan", "greaterThan", "isNull")
_UNIT_OF_A_TIME = "belongs to before and after: remove it"


class Match(Model):
    """One condition on a row: a column with exactly one operator, or sql alone. NULL is never stale, but for isNull."""

    # A typo that the API server drops leaves a condition without operator: that must refuse, never widen.
    model_config = cel.checked(
        *cel.one_of(*_OPERATORS, "sql"),
        cel.missing("has(self.column) || has(self.sql)", _NO_COLUMN, at="column"),
        cel.forbidden("!(has(self.column) && has(self.sql))", _SQL_ALONE, at="column"),
        cel.forbidden("!has(self.unit) || has(self.before) || has(self.after)", _UNIT_OF_A_TIME, at="unit"),
    )

    column: Identifier | None = Field(None, description="The column that the operator is about.")
    in_: list[ColumnValue] | None = Field(
        None,
        alias="in",
        min_length=1,
        max_length=100,
        description="The column has one of these values (1 to 100 strings or integers, typed by the column).",
    )
    not_in: list[ColumnValue] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The column has none of these values (1 to 100 strings or integers, typed by the column).",
    )
    before: Before | None = Field(
        None, description='The column\'s time lies before "now" or "now-<duration>" (at most 36500d).'
    )
    after: Before | None = Field(None, description='The column\'s time lies after "now" or "now-<duration>".')
    unit: Literal["seconds", "milliseconds", "microseconds"] | None = Field(
        None, description="For before and after: the column has numbers, which count these since 1970 in UTC."
    )
    less_than: ColumnValue | None = Field(
        None, description="The column is less than this value (a string or an integer, typed by the column)."
    )
    greater_than: ColumnValue | None = Field(
        None, description="The column is greater than this value (a string or an integer, typed by the column)."
    )
    is_null: bool | None = Field(None, description="true: the column is NULL; false: it is not.")
    sql: Sql | None = Field(
        None,
        description="An SQL condition on this row's columns (alias t, :cutoff is the sweep's time), at most 4096 characters.",
    )

    @model_validator(mode="after")
    def _one_operator(self) -> Self:
        if self.sql is not None and self.column is not None:
            raise refuse("SqlStandsAlone", _SQL_ALONE)
        if self.column is not None:
            exactly_one(self, *_OPERATORS)
            if self.unit is not None and self.before is None and self.after is None:
                raise refuse("UnitAlone", f"unit {_UNIT_OF_A_TIME}")
            return self
        exactly_one(self, *_OPERATORS, "sql")
        if self.sql is None:
            raise refuse("ColumnMissing", _NO_COLUMN)
        return self


class SecretRef(Model):
    """A Secret in the schedule's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class HeadersFrom(Model):
    """Where the webhook's headers are kept."""

    secret_ref: SecretRef = Field(description="A Secret each entry of which is one HTTP header.")


class Webhook(Model):
    """An HTTP POST for each row."""

    url: WebAddress = Field(description="Where the POST goes: http:// or https://, without user and password.")
    headers_from: HeadersFrom | None = Field(None, description="Headers that must stay secret, such as Authorization.")
    timeout: Annotated[str, Duration("100ms", "2m")] = Field(
        "10s", description="Longest time from connecting to the whole answer (100ms to 2m)."
    )


class Effect(Model):
    """What happens for each row before it is written, at least once: exactly one of webhook and handler."""

    model_config = cel.checked(*cel.one_of("webhook", "handler"))

    columns: list[Identifier] = Field(
        default_factory=list,
        min_length=1,
        max_length=64,
        json_schema_extra=_NO_REPEATS,
        description="All columns that the effect sees (at most 64); default the key and the match's columns.",
    )
    key: list[Identifier] = Field(
        default_factory=list,
        min_length=1,
        max_length=16,
        json_schema_extra=_NO_REPEATS,
        description="Columns (1 to 16) whose values make a staleness new, and with it the row's Idempotency-Key; default the times in match.",
    )
    concurrency: int = Field(20, ge=1, le=1000, description="Effects at once in one job (1 to 1000).")
    timeout: Annotated[str, Duration("100ms", "4m")] = Field(
        "30s", description="Longest time that one call of the handler may take (100ms to 4m)."
    )
    webhook: Webhook | None = Field(None, description="Send an HTTP POST for each row.")
    handler: Handler | None = Field(None, description='Call a Python function for each row: "package.module:function".')

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        exactly_one(self, "webhook", "handler")
        return self

    @field_validator("columns", "key")
    @classmethod
    def _distinct(cls, names: list[str]) -> list[str]:
        return no_repeats(names)


class Assignment(Model):
    """One column's new value: exactly one of value and sql."""

    model_config = cel.checked(*cel.one_of("value", "sql"))

    column: Identifier = Field(description="The column to set.")
    value: ColumnValue | None = Field(
        None, description="The new value: a string of 0 to 1024 characters or an integer, typed by the column."
    )
    sql: Sql | None = Field(None, description="The new value as an SQL expression on this row's columns (alias t).")

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        exactly_one(self, "value", "sql")
        return self


class ArchiveTo(Model):
    """The table that deleted rows are copied to."""

    schema_name: Identifier | None = Field(
        None,
        alias="schema",
        description="Schema of the archive table; default the first of the search path that has it.",
    )
    table: Identifier = Field(description="The archive table; it has every column of the source table.")
    lossy: bool = Field(
        False, description="true: columns of the archive may lose a part of a value, such as the time of day in a date."
    )


class Delete(Model):
    """Delete the row; {} deletes without an archive."""

    archive_to: ArchiveTo | None = Field(None, description="Copy each row there in the same transaction.")
    children: Literal["accept"] | None = Field(
        None,
        description="accept: foreign keys with ON DELETE CASCADE, SET NULL or SET DEFAULT may delete or change rows of other tables.",
    )


class Write(Model):
    """What becomes of the row: exactly one of update and delete."""

    model_config = cel.checked(*cel.one_of("update", "delete"))

    update: list[Assignment] | None = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=cel.schema(cel.distinct(_TWICE, of="column")),
        description="Set these columns (1 to 64).",
    )
    delete: Delete | None = Field(None, description="Delete the row, if wanted into an archive table.")

    @model_validator(mode="after")
    def _one_write(self) -> Self:
        exactly_one(self, "update", "delete")
        return self

    @field_validator("update")
    @classmethod
    def _distinct(cls, update: list[Assignment] | None) -> list[Assignment] | None:
        no_repeats([each.column for each in update or ()])
        return update
