"""spec.source and spec.match: the database, the table, and the rows that are stale."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.connection import Connection, UrlFrom
from kubesweep.api.models.health import Health
from kubesweep.api.models.types import (
    NO_REPEATS,
    Before,
    ColumnValue,
    Duration,
    Identifier,
    Model,
    Sql,
    exactly_one,
    known_zone,
    no_repeats,
    refuse,
)


class Session(Model):
    """PostgreSQL settings for the sweep's SQL, and for the table's triggers and defaults.

    Unset fields keep the values of the database user, which `kubesweep check` shows.
    """

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
    """The table to sweep, and its database: exactly one of urlFrom and connection."""

    model_config = cel.checked(*cel.one_of("urlFrom", "connection"))

    url_from: UrlFrom | None = Field(
        None, description="Where to read the database's URL (postgresql://... or sqlite:///...)."
    )
    connection: Connection | None = Field(
        None,
        description="A PostgreSQL connection given by its parts, for Secrets without a URL and for passwords that a sidecar refreshes.",
    )
    schema_name: Identifier | None = Field(
        None, alias="schema", description="Schema of the table; default the first of the search path that has it."
    )
    table: Identifier = Field(description="The table, as the database spells it, without quotes.")
    key: list[Identifier] = Field(
        default_factory=list,
        min_length=1,
        max_length=4,
        json_schema_extra=NO_REPEATS,
        description="1 to 4 columns that are unique and NOT NULL together; default the primary key.",
    )
    lock_timeout: Annotated[str, Duration("1ms", "60s")] = Field(
        "300ms", description="Longest wait for a locked row (1ms to 60s)."
    )
    statement_timeout: Annotated[str, Duration("100ms", "4m")] = Field(
        "30s", description="Longest time that one statement may take (100ms to 4m)."
    )
    naive_time_zone: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="IANA zone of the values in time columns without a time zone; default UTC, with a warning if the database uses another zone.",
    )
    session: Session | None = Field(None, description="Settings of the database's session.")
    health: Health | None = Field(
        None, description="PostgreSQL: signals that slow the sweep down, and pause it; default none."
    )

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
    """One condition on a row: a column with exactly one operator, or sql alone. NULL never matches, except with isNull."""

    # The API server drops a field with a typo. A condition without an operator is refused, because it would match more rows.
    model_config = cel.checked(
        *cel.one_of(*_OPERATORS, "sql"),
        cel.missing("has(self.column) || has(self.sql)", _NO_COLUMN, at="column"),
        cel.forbidden("!(has(self.column) && has(self.sql))", _SQL_ALONE, at="column"),
        cel.forbidden("!has(self.unit) || has(self.before) || has(self.after)", _UNIT_OF_A_TIME, at="unit"),
    )

    column: Identifier | None = Field(None, description="The column that the operator applies to.")
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
