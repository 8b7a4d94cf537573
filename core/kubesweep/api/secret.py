"""The Secret that stands beside a SweepSchedule in a file, and what is read out of it. No message here has a value in it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kubesweep.api.spec import ObjectMeta
from kubesweep.api.types import Model, SecretKey, refuse

SCHEMES = ("postgresql", "postgres", "sqlite")
_FOREIGN = ("mysql", "mariadb", "mssql", "oracle", "mongodb", "redis", "http", "https", "file", "jdbc:postgresql")


class Secret(Model):
    """A core/v1 Secret; ``stringData`` wins over ``data``."""

    api_version: Literal["v1"] = Field(description="Version of this format.")
    kind: Literal["Secret"] = Field(description="Always Secret.")
    metadata: ObjectMeta = Field(description="Name and namespace.")
    type: str = Field("Opaque", max_length=253, description="Ignored.")
    immutable: bool | None = Field(None, description="Ignored.")
    data: Annotated[dict[SecretKey, str], Field(max_length=256)] | None = Field(None, description="Entries in base64.")
    string_data: Annotated[dict[SecretKey, str], Field(max_length=256)] | None = Field(
        None, description="Entries as plain text."
    )

    @model_validator(mode="after")
    def _decodes(self) -> Self:
        _ = self.entries
        return self

    @property
    def entries(self) -> Mapping[str, str]:
        made: dict[str, str] = {}
        for key, text in (self.data or {}).items():
            try:
                made[key] = base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise refuse("BadBase64", f'data "{key}" is not base64 of UTF-8 text; or use stringData') from None
        return {**made, **(self.string_data or {})}


def check_url(url: str) -> str:
    """The URL without blanks around it. Raises ValueError, without any part of the URL that could be a password."""
    url = url.strip()
    wanted = "write postgresql://user:password@host:5432/database, or sqlite:///file.db in local runs"
    scheme, mark, _ = url.partition("://")
    if not mark:
        raise ValueError(f"the database's URL has no scheme: {wanted}")
    if scheme not in SCHEMES:
        base, plus, driver = scheme.partition("+")
        if base in SCHEMES and plus and driver.isalnum():
            raise ValueError(f'the database\'s URL names a driver: write "{base}://" alone')
        name = f'"{scheme}"' if base in _FOREIGN else "of the database's URL"
        raise ValueError(f"the scheme {name} is not supported: {wanted}")
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("the database's URL has a blank or control character in it: write it as %20 and the like")
    return url


def check_headers(entries: Mapping[str, str]) -> Mapping[str, str]:
    """HTTP headers, blanks around the values removed. Raises ValueError that names the header, never its value."""
    headers = {}
    for name, value in entries.items():
        value = value.strip()
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\x20-\x7e\t]*", value):
            raise ValueError(f'the entry "{name}" cannot be an HTTP header: its value must be one line of ASCII')
        headers[name] = value
    return headers
