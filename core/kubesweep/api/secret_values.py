"""Checks the values of a Secret: a database's URL, HTTP headers, signing secrets. No message contains a value.

Separate from the models, because a worker needs these checks but not the models, which are slow to build.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from kubesweep.urls import BARE_PERCENT, UNESCAPED, has_bare_percent, has_unescaped_login

SCHEMES = ("postgresql", "postgres", "sqlite")
_FOREIGN = ("mysql", "mariadb", "mssql", "oracle", "mongodb", "redis", "http", "https", "file", "jdbc:postgresql")


_FRAMING = "it says how the request is sent, which the worker decides; another value would break it"
_SIGNED = "the worker sets it for each request (effect.webhook.signWith)"
OURS = dict.fromkeys(
    ("connection", "content-encoding", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding"),
    _FRAMING,
) | {
    "upgrade": _FRAMING,
    "proxy-connection": _FRAMING,
    "host": "it follows from effect.webhook.url",
    "idempotency-key": "each row has one of its own (effect.key)",
    "webhook-id": "the worker sets it for each request (effect.webhook.batchRows)",
    "webhook-timestamp": _SIGNED,
    "webhook-signature": _SIGNED,
}
SIGNING_PREFIX = "whsec_"
SIGNING_FILE = "secrets"  # the name under which a pod mounts the entry of signWith
MAX_SIGNING_SECRETS = 8  # each adds 48 bytes to a header of every request


def check_url(url: str) -> str:
    """The URL without surrounding blanks. Raises ValueError without any part of the URL that could be a password."""
    url = url.strip()
    if variable := re.search(r"\$\{[A-Za-z_]\w*\}", url):
        state = f"is the text {url}" if variable[0] == url else "has a ${NAME} in it"
        raise ValueError(
            f"the database's URL {state}, which only a local run replaces, and only in stringData: apply the file with "
            "envsubst < FILE | kubectl apply -f -, or write the URL itself"
        )
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
    if scheme != "sqlite" and has_unescaped_login(url):
        raise ValueError(f"the database's URL cannot be read: {UNESCAPED}")
    if scheme != "sqlite" and has_bare_percent(url):
        raise ValueError(f"the database's URL cannot be read: {BARE_PERCENT}")
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


def check_signing_secrets(text: str) -> tuple[str, ...]:
    """The signing secrets in an entry of a Secret, separated by blanks or lines. Raises ValueError that says what to write."""
    secrets = tuple(text.split())
    if not secrets:
        raise ValueError("no signing secret: write whsec_ and the base64 of 24 to 64 random bytes")
    if len(secrets) > MAX_SIGNING_SECRETS:
        raise ValueError(f"more than {MAX_SIGNING_SECRETS} signing secrets: keep the current one and its successor")
    for number, secret in enumerate(secrets, 1):
        try:
            signing_key(secret)
        except ValueError as error:
            raise ValueError(f"signing secret {number} of {len(secrets)} {error}") from None
    return secrets


def signing_key(secret: str) -> bytes:
    """The HMAC key of one signing secret: the bytes behind ``whsec_``, or the UTF-8 text of any other secret.

    The format is that of https://www.standardwebhooks.com. Raises ValueError that contains no part of the secret.
    """
    if secret.startswith(("whsk_", "whpk_")):
        raise ValueError(
            "is a key of an asymmetric signature, which is not supported: write one that begins with whsec_"
        )
    if not secret.startswith(SIGNING_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("is not base64 after whsec_: write whsec_ and the base64 of 24 to 64 random bytes")
    return key
