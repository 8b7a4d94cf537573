"""Webhooks for many rows, with a real receiver: what is sent, and what each answer means for each row."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Plan, RetryPolicy, RowLimits, Webhook
from kubesweep.errors import Outage, RowError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, Stats, SweepState
from kubesweep_worker.effects.base import BatchRefused, RowOutcome
from kubesweep_worker.effects.webhook import WebhookEffect
from tests.integration.receivers import DELIVERY, raw_receiver, receiver
from tests.integration.test_worker_handlers import handler_plan, left, make_table
from tests.integration.test_worker_process import Site
from tests.integration.test_worker_webhook import swept

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
Call = dict[str, Any]
Reply = Callable[[Call, web.Request], web.StreamResponse]
FIRST, SECOND = (dataclasses.replace(DELIVERY, key=(n,), values={"id": int(n)}, idempotency_key=k) for n, k in (("13", "k1"), ("14", "k2")))  # fmt: skip


def batch_plan(url: str, most: int = 50, attempts: int = 2, **changes: Any) -> Plan:
    concurrency = changes.pop("concurrency", 1)
    effect = Effect(columns=("id",), webhook=Webhook(url, timeout=10.0, batch_rows=most), concurrency=concurrency)
    retry = RetryPolicy(max_attempts=attempts, backoff=0.01, max_backoff=0.02)
    return handler_plan("", effect=effect, retry=retry, limits=RowLimits(batch_rows=100), **changes)


class Receiver:
    """Records each call, and answers it with ``reply``."""

    def __init__(self, reply: Reply = lambda call, request: web.Response()) -> None:
        self.reply = reply
        self.calls: list[Call] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        self.calls.append(call)
        self.headers.append(dict(request.headers))
        return self.reply(call, request)

    @property
    def sizes(self) -> list[int]:
        return [len(call["rows"]) for call in self.calls]

    def attempts(self) -> Counter[int]:
        """Calls of each row that are not its first attempt."""
        return Counter(row["row"]["id"] for call in self.calls if call["attempt"] > 1 for row in call["rows"])


async def sweep(tmp_path: Path, made: Receiver, rows: int = 50, **changes: Any) -> tuple[Stats, list[DeadLetter]]:
    url, where = make_table(tmp_path / "carts.db", rows), f"sqlite:///{tmp_path / 'queue.db'}"
    queue = connect(where)
    async with receiver(made.answer) as base:
        plan = batch_plan(base, **changes)
        stats = await swept(plan, url, queue, where, await_retries=True)
    dead = await queue.dead_letters(plan.ref)
    await queue.close()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.balanced) == (SweepState.COMPLETED, True)
    return stats, list(dead)


async def outcomes(answer: Any, *, raw: bytes = b"", deliveries: Any = (FIRST, SECOND)) -> list[RowOutcome]:
    async with raw_receiver(raw) if raw else receiver(answer) as url:
        plan = batch_plan(url)
        assert plan.effect is not None
        assert plan.effect.webhook is not None
        effect = WebhookEffect(plan, plan.effect.webhook, dict, clock=lambda: 0.0)
        try:
            return await effect.deliver_batch(deliveries)
        finally:
            await effect.close()


async def test_the_request_on_the_page_is_the_one_that_is_sent() -> None:
    made = Receiver()
    assert await outcomes(made.answer) == [None, None]
    assert made.calls == [
        json.loads(PAGE.split("### Many rows in one request")[1].split("```json\n")[1].split("```")[0])
    ]
    assert made.headers[0]["webhook-id"] == str(uuid.UUID(made.headers[0]["webhook-id"]))
    assert "Idempotency-Key" not in made.headers[0]
    assert "webhook-signature" not in made.headers[0]


async def test_one_row_is_sent_in_the_same_format_under_its_own_key() -> None:
    made = Receiver()
    await outcomes(made.answer, deliveries=[FIRST])
    assert [row["idempotencyKey"] for row in made.calls[0]["rows"]] == ["k1"]
    assert (made.headers[0]["webhook-id"], made.headers[0]["Idempotency-Key"]) == ("k1", "k1")


async def test_a_row_that_is_no_json_fails_alone() -> None:
    made = Receiver()
    found = await outcomes(made.answer, deliveries=[dataclasses.replace(FIRST, values={"id": "\ud800"}), SECOND])
    assert isinstance(found[0], RowError)
    assert (found[0].error, found[1], made.sizes) == ("NotJson", None, [1])


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refusal_of_many_rows_does_not_say_which_is_the_cause(status: int) -> None:
    made = Receiver(lambda call, request: web.Response(status=status))
    with pytest.raises(BatchRefused):
        await outcomes(made.answer)
    (found,) = await outcomes(made.answer, deliveries=[FIRST])
    assert isinstance(found, RowError)
    assert found.error == f"Http{status}"


async def test_a_redirect_is_not_repeated_for_each_row() -> None:
    made = Receiver(lambda call, request: web.Response(status=301, headers={"Location": "https://b.example"}))
    assert [getattr(found, "error", None) for found in await outcomes(made.answer)] == ["Http301"] * 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_an_answer_that_asks_for_patience_is_an_outage_of_all(status: int) -> None:
    made = Receiver(lambda call, request: web.Response(status=status, headers={"Retry-After": "7"}))
    with pytest.raises(Outage) as caught:
        await outcomes(made.answer)
    assert (caught.value.reason, caught.value.retry_after) == (f"Http{status}", 7.0)


async def test_results_that_break_off_are_an_outage_and_what_is_no_json_is_a_success() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    for cut in (
        b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"results": [{"a',
        b'content-length: 500\r\n\r\n{"results":',  # the receiver closes after an answer without Content-Length
    ):
        with pytest.raises(Outage, match="broke off"):
            await outcomes(None, raw=head + cut)
    assert await outcomes(None, raw=head + b"Content-Length: 2\r\n\r\nok") == [None, None]
    assert await outcomes(None, raw=head + b"X-Bad Name: y\r\nContent-Length: 2\r\n\r\nok") == [None, None]


async def test_one_bad_row_among_fifty_dies_alone_after_its_own_attempts(tmp_path: Path) -> None:
    def reply(call: Call, request: web.Request) -> web.Response:
        bad = any(row["row"]["id"] == 13 for row in call["rows"])
        return web.Response(status=422 if bad else 200, text="no such cart" if bad else "")

    made = Receiver(reply)
    stats, dead = await sweep(tmp_path, made, attempts=3)
    assert [(letter.key, letter.error, len(letter.attempts)) for letter in dead] == [(("13",), "Http422", 3)]
    assert dead[0].message == "the receiver answered 422: no such cart"
    assert stats.sweep is not None
    assert (stats.sweep.applied, left(tmp_path / "carts.db")) == (49, [13])
    assert made.sizes == [50] + [1] * 52
    assert made.attempts() == {13: 2}


async def test_a_receiver_that_is_unavailable_costs_no_attempt(tmp_path: Path) -> None:
    made = Receiver(lambda call, request: web.Response(status=503 if len(made.calls) <= 4 else 200))
    stats, dead = await sweep(tmp_path, made, attempts=1)
    assert stats.sweep is not None
    assert (stats.sweep.applied, dead) == (50, [])
    assert made.attempts() == {}
    assert made.sizes == [50] * 5
    assert len({headers["webhook-id"] for headers in made.headers}) == 1


async def test_results_settle_each_row_and_one_that_they_do_not_name_is_retried(tmp_path: Path) -> None:
    special: dict[int, dict[str, Any] | None] = {
        1: {"result": "skip"},
        2: {"result": "reject", "message": "no such cart"},
        3: {"result": "retry", "seconds": 0.01},
        4: None,
        5: {"result": "done"},
    }

    def reply(call: Call, request: web.Request) -> web.Response:
        found = [(row["idempotencyKey"], row["row"]["id"]) for row in call["rows"]]
        entries = {key: special.get(id_, {"result": "success"}) for key, id_ in found}
        if call["attempt"] > 1:
            entries = {key: {"result": "success"} for key in entries}
        return web.json_response({"results": [{"idempotencyKey": k, **e} for k, e in entries.items() if e is not None]})

    made = Receiver(reply)
    stats, dead = await sweep(tmp_path, made)
    assert stats.sweep is not None
    assert (stats.sweep.applied, stats.sweep.skipped) == (48, 1)
    assert [(letter.key, letter.error, letter.message) for letter in dead] == [(("2",), "Rejected", "no such cart")]
    assert made.attempts() == {3: 1, 4: 1, 5: 1}
    assert left(tmp_path / "carts.db") == [1, 2]


async def test_rows_that_results_never_name_die_with_the_reason(tmp_path: Path) -> None:
    made = Receiver(lambda call, request: web.json_response({"results": []}))
    _, dead = await sweep(tmp_path, made, rows=8, most=4)
    assert {letter.error for letter in dead} == {"ResultMissing"}
    assert [len(letter.attempts) for letter in dead] == [2] * 8


async def test_the_same_row_has_the_same_key_in_every_call(tmp_path: Path) -> None:
    made = Receiver(lambda call, request: web.Response(status=422 if len(call["rows"]) > 1 else 200))
    await sweep(tmp_path, made, rows=30, most=10, concurrency=4)
    keys: dict[int, set[str]] = {}
    for call in made.calls:
        for row in call["rows"]:
            keys.setdefault(row["row"]["id"], set()).add(row["idempotencyKey"])
    assert [len(found) for found in keys.values()] == [1] * 30
    assert Counter(made.sizes) == {10: 3, 1: 30}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Callable[[Plan, int], Site]]:
    made: list[Site] = []

    def make(plan: Plan, rows: int) -> Site:
        made.append(Site(tmp_path, plan, rows))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_crash_in_the_middle_repeats_its_sub_batch_under_the_same_ids(site: Any) -> None:
    """The worker is killed during its fifth call, the second of the second sub-batch."""
    process: asyncio.subprocess.Process | None = None

    def reply(call: Call, request: web.Request) -> web.Response:
        if len(made.calls) == 5:
            assert process is not None
            process.send_signal(signal.SIGKILL)
        return web.Response()

    made = Receiver(reply)
    async with receiver(made.answer) as url:
        here = site(batch_plan(url, most=20), 100)
        await here.open()
        settings = {"lease": 1.0, "concurrency": 1}
        process = await here.start(settings=settings)
        await here.finish(process)
        assert process.returncode == -signal.SIGKILL
        code, log = await here.finish(await here.start(settings=settings))
        assert code == 0, log
        stats = await here.stats()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.settled_rows, stats.dead) == (SweepState.COMPLETED, 100, 0)
    assert left(here.folder / "carts.db") == []
    ids = [headers["webhook-id"] for headers in made.headers]
    assert made.sizes == [20, 20, 10, 20, 20, 20, 20, 10]
    assert ids[3:5] == ids[5:7]
    assert made.calls[3:5] == made.calls[5:7]
    assert len(set(ids)) == 6
