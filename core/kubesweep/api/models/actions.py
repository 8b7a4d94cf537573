"""spec.effect and spec.write: what happens to each stale row."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from kubesweep.api.models import cel
from kubesweep.api.models.connection import SecretKeyRef
from kubesweep.api.models.types import (
    NAMED_TWICE,
    NO_REPEATS,
    ColumnValue,
    Duration,
    Handler,
    Identifier,
    Model,
    ObjectName,
    Sql,
    exactly_one,
    no_repeats,
)
from kubesweep.api.models.web_address import WebAddress
from kubesweep.text import MAX_TEXT


class SecretRef(Model):
    """A Secret in the schedule's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class HeadersFrom(Model):
    """Where to read the webhook's headers."""

    secret_ref: SecretRef = Field(description="A Secret; each of its entries is one HTTP header.")


class SignWith(Model):
    """Where to read the secret that signs the webhook's requests."""

    secret_key_ref: SecretKeyRef = Field(
        description="The entry of a Secret that has whsec_ and base64, or any text; several, separated by blanks, each sign."
    )


class Webhook(Model):
    """An HTTP POST for each row, or for up to batchRows rows."""

    url: WebAddress = Field(description="URL of the POST: http:// or https://, without user and password.")
    headers_from: HeadersFrom | None = Field(None, description="Headers that must stay secret, such as Authorization.")
    sign_with: SignWith | None = Field(
        None, description="Sign each request as Standard Webhooks specify; default no signature."
    )
    batch_rows: int = Field(
        1, ge=1, le=50, description="Most rows of one request (1 to 50); from 2 on, the body is a list of rows."
    )
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
        json_schema_extra=NO_REPEATS,
        description="All columns that the effect sees (at most 64); default the key and the match's columns.",
    )
    key: list[Identifier] = Field(
        default_factory=list,
        min_length=1,
        max_length=16,
        json_schema_extra=NO_REPEATS,
        description="Columns (1 to 16) whose values identify one occasion on which the row is stale, and so its Idempotency-Key; default the columns of before conditions in match.",
    )
    concurrency: int = Field(20, ge=1, le=1000, description="Most concurrent effects in one worker (1 to 1000).")
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
        None, description=f"The new value: a string of 0 to {MAX_TEXT} characters or an integer, typed by the column."
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
        False,
        description="true: accept that columns of the archive lose a part of a value, such as the time of day in a date.",
    )


class Delete(Model):
    """Delete the row; {} deletes without an archive."""

    archive_to: ArchiveTo | None = Field(None, description="Copy each row there in the same transaction.")
    children: Literal["accept"] | None = Field(
        None,
        description="accept: foreign keys with ON DELETE CASCADE, SET NULL or SET DEFAULT may delete or change rows of other tables.",
    )


class Write(Model):
    """What happens to the row in the database: exactly one of update and delete."""

    model_config = cel.checked(*cel.one_of("update", "delete"))

    update: list[Assignment] | None = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=cel.schema(cel.distinct(NAMED_TWICE, of="column")),
        description="Set these columns (1 to 64).",
    )
    delete: Delete | None = Field(None, description="Delete the row, optionally with a copy in an archive table.")

    @model_validator(mode="after")
    def _one_write(self) -> Self:
        exactly_one(self, "update", "delete")
        return self

    @field_validator("update")
    @classmethod
    def _distinct(cls, update: list[Assignment] | None) -> list[Assignment] | None:
        no_repeats([each.column for each in update or ()])
        return update
