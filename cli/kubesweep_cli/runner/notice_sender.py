"""Delivers notices to one URL, in the background: a receiver that is slow, or cannot be reached, never delays the run.

A notice is tried for about an hour, then dropped. The first failure is logged, and no other one until a notice is delivered. The URL may be secret (Slack's is), so no
message has more of it than the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import aiohttp

from kubesweep.errors import Outage
from kubesweep_cli.runner.notice_receiver import NoticeReceiver
from kubesweep_cli.runner.notices import Notice
from kubesweep_worker.effects.proxy import proxy_for

__all__ = ["HttpNoticeSender", "deliveries"]

ATTEMPTS = 64  # about an hour
FIRST_PAUSE = 1.0  # seconds; each further one is twice as long
LONGEST_PAUSE = 60.0
QUIET = 5  # attempts before a failure is logged
MAX_PAUSE = 30.0  # seconds that a receiver may ask to wait (Retry-After)
TIMEOUT = 10.0  # seconds of one attempt
CLOSING = 10.0  # seconds that the end of a run waits for notices on their way
WAITING = 1000  # notices; more are dropped
RETRIED = frozenset({408, 425, 429})
log = logging.getLogger("kubesweep.notices")


class HttpNoticeSender:
    """``pause``: sleeps for so many seconds between two attempts."""

    def __init__(self, receiver: NoticeReceiver, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._receiver, self._pause = receiver, pause
        self._waiting: asyncio.Queue[tuple[Notice, Callable[[], None]]] = asyncio.Queue(WAITING)
        self._failing = False

    def send(self, notice: Notice, delivered: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait((notice, delivered))
        except asyncio.QueueFull:
            self._failed(f"{WAITING:,} others wait")

    async def run(self) -> None:
        """Deliver until cancelled, in order."""
        headers = {"Content-Type": "application/json", "User-Agent": f"kubesweep/{version('kubesweep')}"}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                notice, delivered = await self._waiting.get()
                try:
                    if await self._deliver(session, self._receiver.body(notice)):
                        delivered()
                except Exception as error:  # the other notices are still sent
                    self._failed(f"an unexpected error, {type(error).__name__}; please report it")
                finally:
                    self._waiting.task_done()

    async def drain(self) -> None:
        """Return when no notice waits, or after ``CLOSING`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._waiting.join()

    async def _deliver(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        pause = FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            problem, again = await self._post(session, body)
            if not problem:
                self._delivered()
                return True
            if again is None or attempt == ATTEMPTS:
                break
            if attempt == QUIET:
                self._failed(problem)
            await self._pause(max(again, pause * random.uniform(0.75, 1.25)))
            pause = min(2 * pause, LONGEST_PAUSE)
        self._failed(problem)
        return False

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> tuple[str, float | None]:
        """What went wrong, empty if nothing did; and the least seconds until another attempt, None: there is no point."""
        try:
            url = self._receiver.url
            async with session.post(url, data=body, allow_redirects=False, proxy=proxy_for(url)) as answer:
                if answer.ok and answer.status < 300:
                    return "", None
                again = _retry_after(answer) if answer.status in RETRIED or answer.status >= 500 else None
                return f"it answered {answer.status}", again
        except TimeoutError:
            return f"it did not answer within {TIMEOUT:g} s", 0.0
        except Outage as error:  # the variable of the proxy
            return str(error), None
        except (aiohttp.ClientError, OSError) as error:
            return _why(error), 0.0

    def _delivered(self) -> None:
        if self._failing:
            log.info("notices are delivered again", extra={"receiver": self._receiver.host})
        self._failing = False

    def _failed(self, problem: str) -> None:
        if not self._failing:
            log.warning(
                "a notice was not delivered: %s. Only the first failure is reported, until a notice is delivered",
                problem,
                extra={"receiver": self._receiver.host},
            )
        self._failing = True


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds; 0 for a header that is missing or a date."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), MAX_PAUSE) if text.isascii() and text.isdecimal() else 0.0


def _why(error: BaseException) -> str:
    """Without the words of aiohttp, which contain the URL."""
    cause: object = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return f"no connection ({os.strerror(cause.errno)})"
    return f"no connection ({type(error).__name__})"


@asynccontextmanager
async def deliveries(receiver: NoticeReceiver) -> AsyncIterator[HttpNoticeSender]:
    """A running sender."""
    sender = HttpNoticeSender(receiver)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
