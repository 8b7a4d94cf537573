"""The URL of a connection to PostgreSQL: what is wrong with it is found before libpq quotes it, because it may hold a password."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import pq

from kubesweep.errors import SweepFailure
from kubesweep.masking import without_secret
from kubesweep.text import clip
from kubesweep.urls import UNESCAPED, has_unescaped_login

__all__ = ["check_url", "kept_alive", "without_password"]

# Seconds, seconds, probes: an idle connection without a peer is detected in about a minute. The URL may override them.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
MOST_PORT = 65_535


def check_url(url: str) -> None:
    """Raises SweepFailure for URLs for which libpq's message would contain a part of the password, or omit the parameter, and for those that
    no server can have."""
    if has_unescaped_login(url):
        raise SweepFailure("UrlInvalid", f"the database's URL cannot be read: {UNESCAPED}")
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    with suppress(ValueError):
        for name, _ in parse_qsl(urlsplit(url.strip()).query, keep_blank_values=True):
            if name not in known:
                instead = ": name the schema in spec.source.schema" if name == "schema" else ""
                raise SweepFailure(
                    "UrlInvalid",
                    f"the database's URL has the parameter {clip(name, 64)}, which libpq does not support{instead}: remove it from the URL",
                )
    with suppress(psycopg.Error):
        ports = str(psycopg.conninfo.conninfo_to_dict(url.strip()).get("port") or "").split(",")
        if not all(map(_can_be_port, ports)):
            # Not shown: in postgresql://user:password/database, it is the password.
            raise SweepFailure("UrlInvalid", "the port in the database's URL is not a number from 1 to 65535")


def _can_be_port(text: str) -> bool:
    """An empty one is the default."""
    text = text.strip()
    return not text or (
        text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PORT)) and 0 < int(text) <= MOST_PORT
    )


def kept_alive(url: str) -> str:
    """The URL with keepalives, where it has none of its own."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    return psycopg.conninfo.make_conninfo(url, **{name: n for name, n in KEEPALIVES.items() if name not in given})


def without_password(text: str, url: str) -> str:
    """A message of libpq, without the password of the URL that it is about."""
    with suppress(ValueError):
        password = urlsplit(url).password
        if password:
            text = without_secret(without_secret(text, password), unquote(password))
    return text
