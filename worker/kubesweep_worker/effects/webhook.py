"""POST one row to a URL. The answer's status decides: 2xx done; 408, 425, 429, 5xx and everything below HTTP is the
receiver's trouble (Outage); what is left is this row's (RowError). Redirects are not followed: a POST that moved is a
mistake in the spec, not in the row's favour. The URL may carry a secret, so it is never logged."""

from __future__ import annotations

import datetime as dt
import email.utils
import time
from collections.abc import Callable, Mapping

import aiohttp
import msgspec

from kubesweep.api.plan import Plan, Webhook
from kubesweep.errors import Outage, RowError
from kubesweep_worker.effects.base import Delivery
from kubesweep_worker.values import encode_row

TRY_LATER = frozenset({408, 425, 429})
BODY = 200
LONGEST = 86_400.0  # a receiver that wants to be left alone for years is mistaken: it is asked again after a day


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110: seconds or an HTTP date); None where it says nothing usable."""
    if not header:
        return None
    if header.strip().isdecimal():
        return min(LONGEST, float(header.strip()[:9]))
    try:
        at = email.utils.parsedate_to_datetime(header)
        if at.tzinfo is None:
            at = at.replace(tzinfo=dt.UTC)
        seconds = at.timestamp() - now
    except Exception:  # ValueError, and an OverflowError beyond the calendar: the header is any text at all
        return None
    return min(LONGEST, max(0.0, seconds))


def judge(status: int, header: str | None, body: str, now: float) -> None:
    """Raise what an answer means; return for success."""
    if 200 <= status < 300:
        return
    if status in TRY_LATER or status >= 500:
        raise Outage(f"Http{status}", f"the receiver answered {status}", retry_after=retry_after(header, now))
    if 300 <= status < 400:
        raise RowError(
            f"HTTP {status}",
            f"the receiver answered {status}, a redirect, which a sweep does not follow: put the final URL into effect.webhook.url",
        )
    shown = " ".join(body[:BODY].split())
    raise RowError(f"HTTP {status}", f"the receiver answered {status}" + (f": {shown}" if shown else ""))


class WebhookEffect:
    def __init__(
        self,
        plan: Plan,
        webhook: Webhook,
        headers: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plan, self._webhook, self._clock = plan, webhook, clock
        self._read = headers
        self._headers: Mapping[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def leaked(self) -> int:
        return 0

    def check(self) -> None:
        self._headers = {**self._read(), "Content-Type": "application/json"}

    async def start(self) -> None:
        self.check()
        if self._session is None:
            most = self._plan.effect.concurrency if self._plan.effect else 20
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._webhook.timeout),
                connector=aiohttp.TCPConnector(limit=most),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def body(self, delivery: Delivery) -> bytes:
        return msgspec.json.encode(
            {
                "schedule": self._plan.name,
                "namespace": self._plan.namespace,
                "cutoff": delivery.cutoff,
                "attempt": delivery.attempt,
                "key": list(delivery.key),
                "row": encode_row(delivery.values),
            }
        )

    async def deliver(self, delivery: Delivery) -> None:
        if self._session is None:
            await self.start()
        assert self._session is not None
        headers = {**self._headers, "Idempotency-Key": delivery.idempotency_key}
        try:
            async with self._session.post(
                self._webhook.url, data=self.body(delivery), headers=headers, allow_redirects=False
            ) as answer:
                text = "" if answer.ok else (await answer.content.read(4 * BODY)).decode("utf-8", "replace")
                judge(answer.status, answer.headers.get("Retry-After"), text, self._clock())
        except TimeoutError:
            raise Outage("Timeout", f"the receiver did not answer within {self._webhook.timeout:g} s") from None
        except aiohttp.InvalidURL:
            raise RowError("InvalidUrl", "effect.webhook.url is not a URL that can be posted to") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Outage("Unreachable", f"the receiver cannot be reached ({type(error).__name__})") from None
