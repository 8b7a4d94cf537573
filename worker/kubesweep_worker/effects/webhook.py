"""The webhook effect: POST one row, or up to batchRows rows, to a URL. webhook_response.py classifies the answer, batch_results.py
reads the results of many rows; errors below HTTP are an Outage.

The URL's path and query may be secret, so messages only name host and port.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict

from kubesweep.api.plan import Plan, Webhook
from kubesweep.api.secret_values import SIGNING_PREFIX
from kubesweep.errors import Outage, RowError
from kubesweep.masking import masking
from kubesweep.text import clip
from kubesweep_worker.effects.base import BatchRefused, Delivery, Record, RowOutcome, unrecorded
from kubesweep_worker.effects.batch_results import row_results
from kubesweep_worker.effects.malformed_response import Connector, status_of
from kubesweep_worker.effects.proxy import proxy_for
from kubesweep_worker.effects.signature import signature, webhook_id
from kubesweep_worker.effects.webhook_response import (
    READ_SECONDS,
    REDIRECTS,
    Answer,
    class_of,
    raise_for_response,
    read_beginning,
)
from kubesweep_worker.row_values import encode_row

MAX_HEADER = 1 << 20  # bytes: a long cookie or policy must not make the effect fail
MAX_HEADERS = 10_000
RESOLVE_TIMEOUT = 5.0  # seconds


class WebhookEffect:
    def __init__(
        self,
        plan: Plan,
        webhook: Webhook,
        headers: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.time,
        signing: Callable[[], tuple[str, ...]] = tuple,
        record: Record = unrecorded,
    ) -> None:
        self._record = record
        self._plan, self._webhook, self._clock = plan, webhook, clock
        self._read_headers, self._read_signing = headers, signing
        self._signing: tuple[str, ...] = ()
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._secret: Mapping[str, str] = {}
        self._mask: Callable[[str], str] = lambda text: text
        self._session: aiohttp.ClientSession | None = None
        parts = urlsplit(webhook.url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._receiver = f"the receiver {f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
        self._proxy: str | None = None

    @property
    def leaked(self) -> int:
        return 0

    def check(self) -> None:
        made = CIMultiDict(
            {
                "User-Agent": f"kubesweep/{version('kubesweep')}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",  # messages show the beginning of a refusal
            }
        )
        secret, signing = self._read_headers(), self._read_signing()
        if (secret, signing) != (self._secret, self._signing):
            keys = (each.removeprefix(SIGNING_PREFIX) for each in signing)
            self._secret, self._signing = dict(secret), signing
            self._mask = masking((*secret.values(), *signing, *keys))
        made.update(secret)
        self._headers, self._proxy = made, proxy_for(self._webhook.url)

    async def probe(self) -> None:
        self.check()
        host, port, what = self._host, self._port, "its name"
        if self._proxy is not None:  # the proxy resolves the receiver's name
            proxy = urlsplit(self._proxy)
            host, port, what = proxy.hostname or "", proxy.port or 80, f"the name of the proxy {proxy.hostname}"
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise Outage(
                "Unreachable", f"{self._receiver}: {what} was not resolved within {RESOLVE_TIMEOUT:g} s"
            ) from None
        except (OSError, UnicodeError) as error:
            raise self._unreachable(f"{what} cannot be resolved: {_reason(error)}") from None

    async def start(self) -> None:
        self.check()
        if self._session is None:
            most = self._plan.effect.concurrency if self._plan.effect else 20
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._webhook.timeout),
                connector=Connector(limit=most),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=MAX_HEADER,
                max_field_size=MAX_HEADER,
                max_headers=MAX_HEADERS,
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _about(self, delivery: Delivery) -> dict[str, Any]:
        """What the rows of one request have in common."""
        return {
            "schedule": self._plan.name,
            "namespace": self._plan.namespace,
            "cutoff": delivery.cutoff,
            "attempt": delivery.attempt,
        }

    async def deliver(self, delivery: Delivery) -> None:
        if self._session is None:  # reads the headers too
            await self.start()
        row = {"key": list(delivery.key), "row": encode_row(delivery.values)}
        body = msgspec.json.encode({**self._about(delivery), **row})
        headers = self._headers.copy()
        headers["Idempotency-Key"] = delivery.idempotency_key
        self._sign(headers, delivery.idempotency_key, body)
        raise_for_response(await self._post(headers, body), self._clock(), self._mask)

    async def deliver_batch(self, deliveries: Sequence[Delivery]) -> list[RowOutcome]:
        if self._session is None:
            await self.start()
        outcomes: dict[str, RowOutcome] = {}
        rows: dict[str, dict[str, Any]] = {}
        for each in deliveries:
            key = each.idempotency_key
            try:
                rows[key] = {"idempotencyKey": key, "key": list(each.key), "row": encode_row(each.values)}
            except RowError as error:  # the others are sent without it
                outcomes[key] = error
        if rows:
            body = msgspec.json.encode({**self._about(deliveries[0]), "rows": list(rows.values())})
            outcomes.update(await self._post_rows(tuple(rows), body))
        return [outcomes[each.idempotency_key] for each in deliveries]

    async def _post_rows(self, keys: tuple[str, ...], body: bytes) -> Mapping[str, RowOutcome]:
        headers, id_ = self._headers.copy(), webhook_id(keys)
        headers["webhook-id"] = id_
        if len(keys) == 1:
            headers["Idempotency-Key"] = keys[0]
        self._sign(headers, id_, body)
        status = 0
        try:
            answer = await self._post(headers, body, self._webhook.timeout)
            status = answer.status
            raise_for_response(answer, self._clock(), self._mask)
        except RowError as error:
            if len(keys) > 1 and status not in REDIRECTS:  # a redirect is a mistake in the URL, whatever the rows
                raise BatchRefused from error
            return dict.fromkeys(keys, error)
        return row_results(keys, answer, self._mask)

    def _sign(self, headers: CIMultiDict[str], id_: str, body: bytes) -> None:
        if self._signing:
            now = int(self._clock())
            headers["webhook-id"], headers["webhook-timestamp"] = id_, str(now)
            headers["webhook-signature"] = signature(self._signing, id_, now, body)

    async def ask(self) -> int:
        """The status of the answer to OPTIONS, which has no effect (https://www.rfc-editor.org/rfc/rfc9110#name-options)."""
        await self.start()
        try:
            answer = await self._exchange("OPTIONS", self._headers, None)
        except RowError as error:  # not HTTP, or not a URL: no row could be delivered
            raise Outage(error.error, str(error)) from None
        return answer.status

    async def _post(self, headers: CIMultiDict[str], body: bytes, reading: float = READ_SECONDS) -> Answer:
        """``_exchange``, recorded."""
        began = time.monotonic()
        try:
            answer = await self._exchange("POST", headers, body, reading)
        except (Outage, RowError) as error:
            late = isinstance(error, Outage) and error.reason == "Timeout"
            self._record(time.monotonic() - began, "timeout" if late else "connection")
            raise
        self._record(time.monotonic() - began, class_of(answer.status))
        return answer

    async def _exchange(
        self, method: str, headers: CIMultiDict[str], body: bytes | None, reading: float = READ_SECONDS
    ) -> Answer:
        """The answer, whose body is read for at most ``reading`` seconds. Raises Outage, or RowError for one that is not HTTP."""
        assert self._session is not None
        try:
            async with self._session.request(
                method, self._webhook.url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as answer:
                return await read_beginning(answer, reading)
        except TimeoutError:
            raise Outage("Timeout", f"the receiver did not answer within {self._webhook.timeout:g} s") from None
        except aiohttp.ClientResponseError as error:
            status = status_of(error)
            if status is None:
                raise self._transport_error(error) from None
            return Answer(status, {})
        except (aiohttp.ClientError, OSError) as error:
            raise self._transport_error(error) from None

    def _transport_error(self, error: aiohttp.ClientError | OSError) -> Exception:
        """The error of a request that got no status."""
        if isinstance(error, aiohttp.InvalidURL):
            return RowError("InvalidUrl", "effect.webhook.url is not a URL that can be posted to")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return self._unreachable(f"no connection to the proxy {error.host}:{error.port}: {_reason(error.os_error)}")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self._unreachable(f"the proxy answered {error.status}")
        if isinstance(error, aiohttp.ClientResponseError):
            said = clip(" ".join(self._mask(error.message).split()), 200)
            return RowError("NotHttp", f"{self._receiver} answered, but not with valid HTTP: {said}")
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return Outage("Unreachable", f"{self._receiver} closed the connection without an answer")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return self._unreachable(_reason(error.certificate_error))
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            what = "its name" if self._proxy is None else f"the name of the proxy {error.host}"
            return self._unreachable(f"{what} cannot be resolved: {_reason(error.os_error)}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._unreachable(_reason(error.os_error))
        return self._unreachable(_reason(error))

    def _unreachable(self, why: str) -> Outage:
        return Outage("Unreachable", f"{self._receiver} cannot be reached: {why}")


def _reason(error: BaseException) -> str:
    """The cause in the words of the operating system; aiohttp's messages repeat host and port."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
