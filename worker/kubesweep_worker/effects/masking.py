"""Mask secret header values in messages, even where a receiver echoes them in another encoding.

Each character of a secret matches itself and its escapes in JSON, URLs and HTML, in any mixture; the whole secret also
matches in base64.
"""

from __future__ import annotations

import base64
import binascii
import html.entities
import re
from collections.abc import Callable, Iterable, Iterator

MASK = "***"
SHORT = 4  # a shorter part of a value is too common to be masked by itself
_SEPARATORS = re.compile(r"[\s;,=]+")


def masking(values: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these header values, and the tokens in them, with ``***``."""
    secrets = sorted({one for value in values for one in _parts(value)}, key=len, reverse=True)
    if not secrets:
        return lambda text: text
    whole = re.compile("|".join("".join(map(_spellings, secret)) for secret in secrets), re.IGNORECASE)

    def mask(text: str) -> str:
        return _without_beginning(whole.sub(MASK, text), secrets)

    return mask


def _without_beginning(text: str, secrets: list[str]) -> str:
    """A text that was truncated may end in the middle of a secret."""
    for secret in secrets:
        for size in range(min(len(secret) - 1, len(text)), SHORT - 1, -1):
            if text.endswith(secret[:size]):
                return text[:-size] + MASK
    return text


def _parts(value: str) -> Iterator[str]:
    value = value.strip()
    if not value:
        return
    yield value
    scheme, _, rest = value.partition(" ")
    tokens = [rest.strip()] if rest and scheme.isalpha() else []
    tokens += _SEPARATORS.split(rest if tokens else value)
    for token in tokens:
        if len(token) >= SHORT:
            yield token
            yield base64.b64encode(token.encode()).decode().rstrip("=")
    yield base64.b64encode(value.encode()).decode().rstrip("=")
    if scheme.lower() == "basic":
        yield from _credentials(rest.strip())


def _credentials(encoded: str) -> Iterator[str]:
    try:
        credentials = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    for secret in (credentials, credentials.partition(":")[2]):
        if len(secret) >= SHORT:
            yield secret


def _spellings(character: str) -> str:
    code = ord(character)
    spellings = [
        re.escape(character),
        rf"%(?:25)?{code:02x}",
        rf"\\?\\u{code:04x}",
        rf"\\?\\x{code:02x}",
        rf"&\#0*{code};",
        rf"&\#x0*{code:x};",
    ]
    if not character.isalnum():
        spellings.append(r"\\+" + re.escape(character))
    if character == " ":
        spellings.append(r"\+|\s+")
    if name := html.entities.codepoint2name.get(code):
        spellings.append(f"&{name};")
    return f"(?:{'|'.join(spellings)})"
