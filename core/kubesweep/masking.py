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
SHORT = 4  # a shorter part of a value is too common to be masked by itself, and a shorter value inside a word
_SEPARATORS = re.compile(r"[\s;,=]+")


def masking(values: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these header values, and the tokens in them, with ``***``."""
    secrets = sorted({one for value in values for one in _parts(value)}, key=len, reverse=True)
    if not secrets:
        return lambda text: text
    whole = re.compile("|".join(map(_delimited, secrets)), re.IGNORECASE)

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


def without_secret(text: str, secret: str) -> str:
    """The text without this password as it is written. A short one is masked only where it is a word of its own."""
    return re.sub(_alone(re.escape(secret), secret), MASK, text) if secret else text


def _delimited(secret: str) -> str:
    return _alone(_pattern(secret), secret)


def _alone(pattern: str, secret: str) -> str:
    """Otherwise a password of one letter would mask this letter in every word, and show which one it is."""
    return pattern if len(secret) >= SHORT else rf"(?<!\w){pattern}(?!\w)"


def _pattern(secret: str) -> str:
    """Blanks in a row are one part that repeats, and no other part repeats without a limit: otherwise the time to search a text of many
    blanks or backslashes would grow with the square of its length. No text is a repeated part in two ways, for the same reason."""
    parts = re.split("( +)", secret)
    return "".join(f"{_spellings(' ')}+" if part.startswith(" ") else "".join(map(_spellings, part)) for part in parts)


def _spellings(character: str) -> str:
    code = ord(character)
    spellings = [
        r"\s" if character == " " else re.escape(character),
        rf"%(?:25)?{code:02x}",
        rf"\\?\\u{code:04x}",
        rf"\\?\\x{code:02x}",
        rf"&\#0{{0,8}}{code};",
        rf"&\#x0{{0,8}}{code:x};",
    ]
    if code > 0x7F:
        data = character.encode(errors="surrogatepass")
        spellings.append("".join(rf"%(?:25)?{byte:02x}" for byte in data))  # a URL has bytes of UTF-8
        pair = character.encode("utf-16-be", errors="surrogatepass").hex()
        spellings.append(
            "".join(rf"\\?\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))
        )  # JSON has those of UTF-16
    if not character.isalnum():
        spellings.append(r"\\{1,8}" + re.escape(character))
    if character == " ":
        spellings.append(r"\+")
    if name := html.entities.codepoint2name.get(code):
        spellings.append(f"&{name};")
    return f"(?:{'|'.join(spellings)})"
