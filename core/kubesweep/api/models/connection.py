"""spec.source.urlFrom and spec.source.connection: a database's URL, or its parts. database_url.py composes a URL from parts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from kubesweep.api.database_url import HOST, HOST_HELP, KEYS, PARAMETERS, SSL_MODES, Parts, database_host
from kubesweep.api.models import cel
from kubesweep.api.models.types import Model, ObjectName, Plain, SecretKey, Value, exactly_one, refuse
from kubesweep.text import MAX_TEXT, did_you_mean


def _absolute(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError("must be the absolute path of a file in the worker's container, such as /run/iam/password")


def _host(text: str) -> None:
    database_host(text)


_FILE_RULE = cel.rule("self.startsWith('/')", "must be the absolute path of a file, such as /run/iam/password")
# A forbidden rule, not an invalid one: the API server does not show its value, which may be a URL with a password.
_HOST_RULE = cel.forbidden(cel.matches(rf"^\s*{HOST}\s*$"), HOST_HELP)
FilePath = Annotated[str, Plain(most=MAX_TEXT, least=1, code="BadPath", also=_absolute, rules=(_FILE_RULE,))]
DatabaseHost = Annotated[str, Plain(most=MAX_TEXT, least=1, code="BadHost", also=_host, rules=(_HOST_RULE,))]
Name = Annotated[str, Plain(most=255, least=1)]


class SecretKeyRef(Model):
    """One entry of a Secret in the schedule's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Entry of the Secret.")


class UrlFrom(Model):
    """Where to read the database's URL: exactly one of secretKeyRef and file."""

    model_config = cel.checked(*cel.one_of("secretKeyRef", "file"))

    secret_key_ref: SecretKeyRef | None = Field(
        None, description="The entry of a Secret that has the URL of the database."
    )
    file: FilePath | None = Field(
        None,
        description="A file in the worker's container that has the URL, such as one that a sidecar writes. It is read at each use.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "secretKeyRef", "file")
        return self


class ConnectionKeys(Model):
    """The key of the Secret for each part."""

    host: SecretKey = Field(KEYS["host"], description="Key of the host; read where host is not given.")
    port: SecretKey = Field(
        KEYS["port"], description="Key of the port, which may be missing; read where port is not given."
    )
    database: SecretKey = Field(KEYS["database"], description="Key of the database; read where database is not given.")
    username: SecretKey = Field(KEYS["username"], description="Key of the user; read where username is not given.")
    password: SecretKey = Field(
        KEYS["password"], description="Key of the password; read where passwordFile is not given."
    )


class ConnectionSecret(Model):
    """The Secret with the parts that the spec does not give."""

    name: ObjectName = Field(description="Name of the Secret.")
    keys: ConnectionKeys = Field(default_factory=ConnectionKeys, description="The key of the Secret for each part.")


class CaFrom(Model):
    """Where to read the certificate of the authority that signed the server's certificate."""

    secret_key_ref: SecretKeyRef = Field(description="The entry of a Secret that has it as PEM, such as ca.crt.")


def _or_secret(part: str) -> tuple[str, str]:
    return f"has(self.{part}) || has(self.secretRef)", f"needs {part}, or a secretRef to a Secret that has it"


_NO_PARAMETER = "is not a supported parameter; docs/database.md lists them"
_BAD_SSLMODE = f"sslmode must be one of {', '.join(SSL_MODES)}"
_TWO_CAS = "belongs to caFrom or to parameters.sslrootcert: remove one"
_PARAMETER_RULES = cel.schema(
    cel.forbidden(
        f"self.all(name, name in [{', '.join(map(cel.quoted, PARAMETERS))}])",
        f"has a parameter that is not supported; allowed: {', '.join(PARAMETERS)}",
    ),
    cel.forbidden(
        f"!('sslmode' in self) || self['sslmode'] in [{', '.join(map(cel.quoted, SSL_MODES))}]", _BAD_SSLMODE
    ),
)


class Connection(Model):
    """A PostgreSQL connection by its parts, each given here or read from the Secret. The worker reads Secret and file at each use."""

    model_config = cel.checked(
        *(cel.missing(*_or_secret(part), at=part) for part in ("host", "database", "username")),
        cel.forbidden(
            "!has(self.caFrom) || !has(self.parameters) || !('sslrootcert' in self.parameters)", _TWO_CAS, at="caFrom"
        ),
    )

    secret_ref: ConnectionSecret | None = Field(
        None, description="The Secret with the parts that are not given here, such as the password."
    )
    host: DatabaseHost | None = Field(
        None, description="Host name or address (IPv6 too), or the folder of a Unix socket; default the Secret's."
    )
    port: int | None = Field(None, ge=1, le=65_535, description="Port; default the Secret's, else 5432.")
    database: Name | None = Field(None, description="Name of the database; default the Secret's.")
    username: Name | None = Field(None, description="User; default the Secret's.")
    password_file: FilePath | None = Field(
        None,
        description="A file in the worker's container that has the password, such as a token that a sidecar refreshes; default the Secret's. Without both, no password is sent.",
    )
    ca_from: CaFrom | None = Field(
        None,
        description="The certificate that must have signed the server's certificate; it sets sslmode to verify-full.",
    )
    parameters: Annotated[dict[str, Value], Field(max_length=32)] | None = Field(
        None,
        json_schema_extra=_PARAMETER_RULES,
        description="Further parameters of libpq, such as sslmode: require.",
    )

    @field_validator("parameters")
    @classmethod
    def _known(cls, parameters: dict[str, str] | None) -> dict[str, str] | None:
        for name, value in (parameters or {}).items():
            if name not in PARAMETERS:
                raise refuse(
                    "UnknownParameter", f'"{name[:60]}" {_NO_PARAMETER}{did_you_mean(name, PARAMETERS, cutoff=0.7)}'
                )
            if name == "sslmode" and value not in SSL_MODES:
                raise refuse("UnknownParameter", _BAD_SSLMODE)
        return parameters

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for part in ("host", "database", "username"):
            if getattr(self, part) is None and self.secret_ref is None:
                raise refuse("PartMissing", f"needs {part}, or a secretRef to a Secret that has it")
        if self.ca_from is not None and "sslrootcert" in (self.parameters or {}):
            raise refuse("SeveralOf", f"the certificate {_TWO_CAS}")
        return self

    @property
    def parts(self) -> Parts:
        """The parts as a worker needs them."""
        given = {"host": self.host, "port": self.port, "database": self.database, "username": self.username}
        given["password"] = self.password_file
        keys = self.secret_ref.keys.model_dump() if self.secret_ref else {}
        ca = self.ca_from.secret_key_ref if self.ca_from else None
        return Parts(
            secret=self.secret_ref.name if self.secret_ref else "",
            keys={part: key for part, key in keys.items() if given[part] is None},
            host=self.host or "",
            port=self.port,
            database=self.database or "",
            username=self.username or "",
            password_file=self.password_file or "",
            ca=(ca.name, ca.key) if ca else None,
            parameters=self.parameters or {},
        )
