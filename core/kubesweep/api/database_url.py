"""Composes a database's URL from its parts: values of the spec, of a Secret, or of files that may change at any time.

Every character of a part is percent-encoded, so a password can have any characters, and the pool, the log and the origins of
rows need only one form. No message contains a value that was read from a Secret or a file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from kubesweep.api.host import check_host
from kubesweep.api.secret_values import check_url
from kubesweep.errors import Outage, SweepFailure

FIELD = "spec.source.connection"
# The parts that a Secret may hold, and the keys under which database operators write them.
KEYS = {"host": "host", "port": "port", "database": "dbname", "username": "username", "password": "password"}
CA_FILE = "ca.crt"
# The other parameters of libpq, without secrets such as sslpassword, which do not belong into a spec.
PARAMETERS = (
    "channel_binding", "gssdelegation", "gssencmode", "gsslib", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle",
    "keepalives_interval", "krbsrvname", "load_balance_hosts", "max_protocol_version", "min_protocol_version", "options", "require_auth",
    "requirepeer", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcrl", "sslcrldir", "sslkey",
    "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout",
)  # fmt: skip
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ADDRESS = r"\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[-.\w]+)?\]?"
_ONE_HOST = rf"([^\s/:@?#\[\],]+|{_ADDRESS})"
HOST = rf"(/[^\x00-\x1f\x7f]*|{_ONE_HOST}(,{_ONE_HOST})*)"
_WRITER = "See the log of the container that writes it, and check the volume that both containers mount. The file is read at each use"
HOST_HELP = (
    "write the host's name or address alone (its port into port), or the folder of a Unix socket, such as /run/proxy"
)


class Parts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel"):
    """The connection of a spec, as a worker's environment has it.

    ``keys`` maps the parts that are read from the Secret to their keys in it. ``ca`` is the name and key of the certificate's
    Secret.
    """

    secret: str = ""
    keys: dict[str, str] = {}
    host: str = ""
    port: int | None = None
    database: str = ""
    username: str = ""
    password_file: str = ""
    ca: tuple[str, str] | None = None
    parameters: dict[str, str] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The mounted files from which a pod reads the parts."""
        return (*self.keys, *((CA_FILE,) if self.ca else ()))


def missing(parts: Parts, found: Mapping[str, str]) -> list[str]:
    """The parts that are missing or empty in the Secret. The port is optional, its default is 5432."""
    return [part for part in parts.keys if part != "port" and not _line(found.get(part, ""))]


def compose(parts: Parts, found: Mapping[str, str], ca_file: Path | None = None) -> str:
    """The URL. ``found`` has the values of the Secret by the names of the parts, and none is ``missing``.

    Raises ValueError that names the field and the key.
    """
    host = _checked(parts, "host", parts.host or found["host"], database_host)
    port = str(parts.port or "") or _checked(parts, "port", found.get("port", ""), _port)
    database, username = (_text(parts, part, getattr(parts, part) or found[part]) for part in ("database", "username"))
    options = {"host": host, "port": port}
    if ca_file is not None:
        # A given certificate must be checked, which libpq's default sslmode, prefer, does not do.
        options |= {"sslrootcert": str(ca_file), "sslmode": "verify-full"}
    options |= parts.parameters
    login = quote(username, safe="")
    if found.get("password"):
        login += ":" + quote(_text(parts, "password", found["password"]), safe="")
    return f"postgresql://{login}@/{quote(database, safe='')}?{urlencode(options, quote_via=quote, safe='')}"


def database_host(text: str) -> str:
    """One host or several, separated by commas, as libpq takes them. Raises ValueError, without the text."""
    text = text.strip()
    if not re.fullmatch(HOST, text):
        raise ValueError(HOST_HELP)
    return text if text.startswith("/") else ",".join(map(_host, text.split(",")))


def _host(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    if ":" not in bare:
        check_host(bare)
        return bare
    try:
        ipaddress.IPv6Address(bare)
    except ValueError:
        raise ValueError("not an IPv6 address") from None
    return bare


def _port(text: str) -> str:
    text = text.strip()
    if text and not (text.isascii() and text.isdecimal() and 0 < int(text) < 65_536):
        raise ValueError("write a number from 1 to 65535")
    return text or "5432"


def _checked(parts: Parts, part: str, text: str, check: object) -> str:
    assert callable(check)
    try:
        return str(check(text))
    except ValueError as error:
        raise ValueError(f"{_place(parts, part)} is not a valid {part}: {error}") from None


def _text(parts: Parts, part: str, text: str) -> str:
    text = _line(text)
    if "\0" in text:
        raise ValueError(f"{_place(parts, part)} has a NUL character, which databases do not accept")
    return text


def _line(text: str) -> str:
    """The text without the trailing newline of editors, `echo` and `--from-file`. Blanks may belong to a password and are kept."""
    return text.rstrip("\r\n")


def _place(parts: Parts, part: str) -> str:
    if part in parts.keys:
        return f'the key "{parts.keys[part]}" of the Secret "{parts.secret}" ({FIELD}.secretRef.keys.{part})'
    return f"{FIELD}.{'passwordFile' if part == 'password' else part}"


def read_text(file: Path, field: str) -> str:
    """The text of a file that a container of the pod or a person writes; "" if it does not exist.

    Raises Outage UrlMissing and SweepFailure UrlInvalid.
    """
    try:
        return file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError:
        raise SweepFailure("UrlInvalid", f"{file} ({field}) is not UTF-8 text.") from None
    except OSError as error:
        fix = (
            ". Make it readable for the worker's user, for example with fsGroup"
            if isinstance(error, PermissionError)
            else ""
        )
        raise Outage("UrlMissing", f"{file} ({field}) cannot be read: {error.strerror}{fix}") from None


def read_password(file: Path, advice: str = "") -> str:
    """Like ``read_text``, but a missing or empty file is an Outage, because it may be written later. Default ``advice``: for pods."""
    text = read_text(file, f"{FIELD}.passwordFile")
    if not _line(text):
        raise Outage(
            "UrlMissing",
            f"no password: the file {file} ({FIELD}.passwordFile) is missing or empty. {advice or _WRITER}",
        )
    return text


def read_url(file: Path, field: str, advice: str = "") -> str:
    """The URL in a file that may change. Like ``read_password``."""
    text = read_text(file, field).strip()
    if not text:
        raise Outage(
            "UrlMissing", f"no database URL: the file {file} ({field}) is missing or empty. {advice or _WRITER}"
        )
    return usable_url(text)


def usable_url(text: str) -> str:
    """The checked URL. Raises SweepFailure UrlInvalid."""
    try:
        return check_url(text)
    except ValueError as error:
        raise SweepFailure("UrlInvalid", f"{error}.") from None
