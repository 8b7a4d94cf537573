"""How notices are delivered, to a real receiver: shapes, retries, and what is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from kubesweep_cli.runner import notice_sender
from kubesweep_cli.runner.notice_receiver import NoticeReceiver, parse_receiver
from kubesweep_cli.runner.notice_sender import ATTEMPTS, MAX_PAUSE, HttpNoticeSender
from kubesweep_cli.runner.notices import Notice, NoticeState
from tests.integration.receivers import receiver

NOTICE = Notice(
    state=NoticeState.DEGRADED,
    namespace="shop",
    schedule="carts",
    reasons=("DeadLetters",),
    text="shop/carts: Degraded. 2 rows & <more>",
    time="2026-03-01T12:00:00Z",
    dead=2,
    sweep=None,
)


class Answers:
    """Answers each request with the next status, the last one again and again."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self.statuses, self.headers, self.bodies = list(statuses), headers, list[object]()

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(json.loads(await request.text()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(
            status=status, headers={name.replace("_", "-"): text for name, text in self.headers.items()}
        )


class Sending:
    """A running sender whose pauses take no time."""

    def __init__(self, url: str) -> None:
        self.pauses: list[float] = []
        self.delivered = 0
        self.sender = HttpNoticeSender(parse_receiver(url), self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def _count(self) -> None:
        self.delivered += 1

    async def send(self, notice: Notice = NOTICE) -> None:
        self.sender.send(notice, self._count)
        await self.sender.drain()


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[Sending]:
    made = Sending(url)
    running = asyncio.create_task(made.sender.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(autouse=True)
def propagated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line keeps its log records away from pytest's handler."""
    monkeypatch.setattr(logging.getLogger("kubesweep"), "propagate", True)


async def test_a_plain_receiver_gets_every_field(caplog: pytest.LogCaptureFixture) -> None:
    answers = Answers(204)
    async with receiver(answers.answer) as url, sending(url) as kit:
        await kit.send()
    assert (kit.delivered, kit.pauses, caplog.records) == (1, [], [])
    assert answers.bodies == [
        {
            "state": "Degraded",
            "namespace": "shop",
            "schedule": "carts",
            "reasons": ["DeadLetters"],
            "text": "shop/carts: Degraded. 2 rows & <more>",
            "time": "2026-03-01T12:00:00Z",
            "dead": 2,
            "sweep": None,
        }
    ]


async def test_a_receiver_of_slacks_shape_gets_one_escaped_text() -> None:
    answers = Answers(200)
    async with receiver(answers.answer) as url, sending(f"slack:{url}/hooks/x") as kit:
        await kit.send()
    assert answers.bodies == [{"text": "shop/carts: Degraded. 2 rows &amp; &lt;more&gt;"}]


async def test_a_receiver_that_is_away_for_a_moment_gets_it_once() -> None:
    answers = Answers(503, 429, 200, Retry_After="7")
    async with receiver(answers.answer) as url, sending(url) as kit:
        await kit.send()
    assert (kit.delivered, len(answers.bodies), kit.pauses) == (1, 3, [7.0, 7.0])


async def test_a_receiver_cannot_ask_for_long_pauses() -> None:
    async with receiver(Answers(503, 200, Retry_After="86400").answer) as url, sending(url) as kit:
        await kit.send()
    assert (kit.delivered, kit.pauses) == (1, [MAX_PAUSE])


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_a_refusal_is_not_repeated(status: int, caplog: pytest.LogCaptureFixture) -> None:
    answers = Answers(status, Location="/elsewhere")
    async with receiver(answers.answer) as url, sending(url) as kit:
        await kit.send()
    assert (kit.delivered, len(answers.bodies), kit.pauses) == (0, 1, [])
    assert f"a notice was not delivered: it answered {status}" in caplog.text


async def test_a_receiver_that_stays_away_is_reported_once_and_without_its_url(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    answers = Answers(200)
    async with receiver(answers.answer) as url:
        pass  # its port is closed now
    async with sending(f"{url}/services/hunter2") as kit:
        for _ in range(3):
            await kit.send()
        assert [round(each) for each in kit.pauses[:4]] == pytest.approx([1, 2, 4, 8], abs=2)
        assert 3000 < sum(kit.pauses[: ATTEMPTS - 1]) < 4800  # an outage of the receiver of an hour loses no notice
        assert len(kit.pauses) == 3 * (ATTEMPTS - 1)
    (record,) = caplog.records
    assert "no connection (Connection refused)" in record.getMessage()
    assert "hunter2" not in caplog.text


async def test_the_first_success_after_failures_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with receiver(Answers(403, 200, 403).answer) as url, sending(url) as kit:
        for _ in range(3):
            await kit.send()
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == ["a notice was not delivered", "notices are delivered again", "a notice was not delivered"]


async def test_too_many_waiting_notices_are_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notice_sender, "WAITING", 2)
    sender = HttpNoticeSender(NoticeReceiver("http://127.0.0.1:1/"))
    for _ in range(5):
        sender.send(NOTICE, lambda: None)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "slack"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("slack:https://chat.example.com/hooks/x", True),
        ("https://example.com/hook?token=x", False),
        ("http://[::1]:8080", False),
    ],
)
def test_the_url_chooses_the_shape(text: str, slack: bool) -> None:
    assert parse_receiver(text) == NoticeReceiver(text.removeprefix("slack:"), slack)
