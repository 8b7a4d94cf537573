"""Checks the values of a Secret: a database's URL, and HTTP headers. No message contains a value.

Separate from the models, because a worker needs these checks but not the models, which are slow to build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SCHEMES = ("postgresql", "postgres", "sqlite")
_FOREIGN = ("mysql", "mariadb", "mssql", "oracle", "mongodb", "redis", "http", "https", "file", "jdbc:postgresql")


_FRAMING = "it says how the request is sent, which the worker decides; another value would break it"
OURS = dict.fromkeys(
    ("connection", "content-encoding", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding"),
    _FRAMING,
) | {
    "upgrade": _FRAMING,
    "proxy-connection": _FRAMING,
    "host": "it follows from effect.webhook.url",
    "idempotency-key": "each row has one of its own (effect.key)",
}


def check_url(url: str) -> str:
    """The URL without surrounding blanks. Raises ValueError without any part of the URL that could be a password."""
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


def check_headers(values: Mapping[str, str]) -> Mapping[str, str]:
    """HTTP headers, without blanks around the values. Raises ValueError that names the header, never its value."""
    headers: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in values.items():
        value = value.strip()
        if name.lower() in OURS:
            raise ValueError(f'the entry "{name}" must not be a header here: {OURS[name.lower()]}. Remove it')
        if (other := names.setdefault(name.lower(), name)) != name:
            raise ValueError(f'the entries "{other}" and "{name}" are one header: remove one')
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\x20-\x7e\t]*", value):
            raise ValueError(f'the entry "{name}" cannot be an HTTP header: its value must be one line of ASCII')
        headers[name] = value
    return headers
