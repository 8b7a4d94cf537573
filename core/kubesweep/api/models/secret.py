"""The Secret in the files of a local run. secret_values.py checks its values, and no message contains one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kubesweep.api.models.spec import ObjectMeta
from kubesweep.api.models.types import Model, SecretKey, refuse


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
        _ = self.values
        return self

    @property
    def values(self) -> Mapping[str, str]:
        made: dict[str, str] = {}
        for key, text in (self.data or {}).items():
            try:
                made[key] = base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise refuse("BadBase64", f'data "{key}" is not base64 of UTF-8 text; or use stringData') from None
        return {**made, **(self.string_data or {})}
