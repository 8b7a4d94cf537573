"""Classify a webhook's answer by its status, whatever its headers and body are.

2xx: the effect succeeded. 408, 425, 429 and 5xx: the receiver cannot work now (Outage). Any other status refuses the row
(RowError). The error's name is ``Http`` and the status, such as ``Http503``. Redirects are not followed: the spec has to name
the final URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from kubesweep.errors import Outage, RowError
from kubesweep.text import clip
from kubesweep.urls import can_be_host

TRY_LATER = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SHOWN = 200  # characters of a refusal's body that the row's message shows
MAX_RETRY_AFTER = 86_400.0  # seconds; a longer Retry-After is treated as a mistake
MOST_READ = 64 << 10  # bytes of a body that are read, so that the connection can be reused
READ_SECONDS = 1.0  # reading for longer costs more than a new connection


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is the beginning of the body, ``complete`` False where the rest is missing."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    complete: bool = True


def class_of(status: int) -> str:
    """The class of an answer in the metrics. A status that HTTP does not define refuses the row, as 4xx does."""
    if status == 429:
        return "429"
    return f"{status // 100}xx" if 200 <= status < 600 else "4xx"


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110: seconds or an HTTP date); None where it has neither."""
    if not header:
        return None
    if header.strip().isdecimal():
        return min(MAX_RETRY_AFTER, float(header.strip()[:9]))
    try:
        at = email.utils.parsedate_to_datetime(header)
        if at.tzinfo is None:
            at = at.replace(tzinfo=dt.UTC)
        seconds = at.timestamp() - now
    except Exception:  # ValueError, and OverflowError beyond the calendar: the header may be any text
        return None
    return min(MAX_RETRY_AFTER, max(0.0, seconds))


async def read_beginning(answer: aiohttp.ClientResponse, seconds: float = READ_SECONDS) -> Answer:
    """The beginning of the body, as far as it arrives in ``seconds``. A body that is truncated, endless or slow does not change
    what the status means."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
        async with asyncio.timeout(seconds):
            while len(body) < MOST_READ and not answer.content.at_eof():
                body += await answer.content.readany()
    complete = answer.content.at_eof() and answer.content.exception() is None
    if not complete:
        answer.close()
    return Answer(answer.status, answer.headers, bytes(body), complete)


def decoded(body: bytes, encoding: str) -> bytes:
    """The body, decompressed where it is valid gzip or deflate, at most ``MOST_READ`` bytes of it."""
    if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, MOST_READ)
    return body


def text_of(body: bytes, encoding: str, mask: Callable[[str], str]) -> str:
    """The first characters of a refusal on one line."""
    body = decoded(body, encoding)
    # Masked before it is shortened, because half a secret would not be found.
    return clip(" ".join(mask(body.decode("utf-8", "replace")).split()), SHOWN)


def raise_for_response(
    answer: Answer,
    now: float,
    mask: Callable[[str], str] = lambda text: text,
) -> None:
    """Return for success. Raises Outage or RowError otherwise. ``mask`` replaces secrets in the quoted body."""
    status, headers = answer.status, answer.headers
    if 200 <= status < 300:
        return
    if status in TRY_LATER or 500 <= status < 600:
        seconds = retry_after(headers.get("Retry-After"), now)
        raise Outage(f"Http{status}", f"the receiver answered {status}", retry_after=seconds)
    if status in REDIRECTS:
        raise RowError(
            f"Http{status}",
            f"the receiver answered {status}, a redirect{mask(_target(headers.get('Location', '')))}, which a sweep does not "
            "follow: put the final URL into effect.webhook.url",
        )
    shown = text_of(answer.body, headers.get("Content-Encoding", ""), mask)
    raise RowError(f"Http{status}", f"the receiver answered {status}" + (f": {shown}" if shown else ""))


def _target(location: str) -> str:
    """Scheme and host only, because path and query may be secret."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(location)
        if parts.scheme in ("http", "https") and parts.hostname and can_be_host(parts.hostname):
            port = f":{parts.port}" if parts.port else ""
            return f" to {parts.scheme}://{parts.hostname}{port}"
    return ""
