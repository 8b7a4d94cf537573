"""Signed webhooks as their receiver sees them: it verifies each request itself, while secrets are rotated, missing or malformed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Webhook
from kubesweep.errors import Outage, Reject, RowError
from kubesweep.queue.model import SweepState
from kubesweep_worker.effects.webhook import WebhookEffect
from tests.integration.pod import ROWS, Pod, make_carts, pod_plan, statuses
from tests.integration.pod_logs import PAUSES, ended, said
from tests.integration.receivers import DELIVERY, receiver
from tests.integration.test_worker_webhook_batches import FIRST, SECOND, batch_plan
from tests.kits.servers import Server

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
OLD, NEW, UNKNOWN = (f"whsec_{base64.b64encode(bytes(range(at, at + 32))).decode()}" for at in (0, 64, 128))
TOLERANCE = 300  # seconds, as in the libraries of Standard Webhooks
CALL = 10  # rows of one request
FINISHED = "sweep finished"


def verifies(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a receiver that has only ``secret`` accepts the request, by the text of the specification."""
    if abs(time.time() - int(headers.get("webhook-timestamp", "0"))) > TOLERANCE:
        return False
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    given = [each.partition(",") for each in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and base64.b64decode(text) == digest for version, _, text in given)


class Verifying:
    """A receiver that has ``secrets`` and refuses each request that none of them signed. ``after`` runs before each answer."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = secrets
        self.after: Callable[[], None] = lambda: None
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        self.refused = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.headers, body))
        accepted = any(verifies(secret, request.headers, body) for secret in self.secrets)
        self.refused += not accepted
        self.after()
        return web.Response(status=200 if accepted else 401)

    def signed_by(self, secret: str) -> list[bool]:
        return [verifies(secret, headers, body) for headers, body in self.requests]


@pytest.fixture
async def sweeping(tmp_path: Path, server: Server, database: str) -> AsyncIterator[Callable[..., Awaitable[Pod]]]:
    """A pod of one job at a time, whose rows die at the first failure; its sweep is open."""
    made: list[Pod] = []
    make_carts(database)

    async def make(url: str, rows: int = CALL) -> Pod:
        hook = Webhook(url, batch_rows=rows, sign_with="mailer-signing/current")
        pod = Pod(tmp_path / "pod", server, pod_plan(effect=Effect(columns=("id",), webhook=hook), concurrency=1))
        made.append(pod)
        pod.database.show(url=database)
        await pod.open()
        return pod

    yield make
    for pod in made:
        await pod.close()


async def all_accepted(pod: Pod, made: Verifying, database: str) -> None:
    stats = await pod.stats()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, await pod.dead()) == (SweepState.COMPLETED, ROWS, ())
    assert (made.refused, statuses(database)) == (0, {"new": ROWS})


async def again(pod: Pod, database: str) -> None:
    """The rows become stale again, and the next tick opens a sweep."""
    with psycopg.connect(database, autocommit=True) as root:
        root.execute("UPDATE carts SET status = 'old'")
    assert "a sweep begins" in pod.run("tick")[0]["message"]


@pytest.mark.parametrize("rows", [1, CALL])
async def test_a_receiver_verifies_each_request_of_a_pod(sweeping: Any, database: str, rows: int) -> None:
    made = Verifying(NEW)
    async with receiver(made.answer) as url:
        pod = await sweeping(url, rows)
        pod.signing.show(secrets=f"{NEW}\n")
        worker = pod.start()
        await said(worker, FINISHED)
        await all_accepted(pod, made, database)
        assert NEW not in await ended(worker)
    assert len({headers["webhook-id"] for headers, _ in made.requests}) == ROWS / rows
    assert [headers.get("Idempotency-Key") for headers, _ in made.requests] == [
        headers["webhook-id"] if rows == 1 else None for headers, _ in made.requests
    ]
    assert not any(made.signed_by(UNKNOWN))


@pytest.mark.parametrize("known", [OLD, NEW], ids=["old", "new"])
async def test_during_a_rotation_a_receiver_that_has_either_secret_accepts(
    sweeping: Any, database: str, known: str
) -> None:
    made = Verifying(known)
    async with receiver(made.answer) as url:
        pod = await sweeping(url)
        pod.signing.show(secrets=f"{NEW} {OLD}")
        worker = pod.start()
        await said(worker, FINISHED)
        await all_accepted(pod, made, database)
        await ended(worker)
    assert {len(headers["webhook-signature"].split(" ")) for headers, _ in made.requests} == {2}


async def test_a_secret_is_rotated_under_a_running_worker_without_a_refused_request(
    sweeping: Any, database: str
) -> None:
    """The steps of docs/webhooks.md: both secrets in the entry, then the new one at the receiver, then the new one alone."""
    made = Verifying(OLD)
    async with receiver(made.answer) as url:
        pod = await sweeping(url)
        pod.signing.show(secrets=OLD)
        made.after = lambda: pod.signing.show(secrets=f"{NEW} {OLD}") if len(made.requests) == 1 else None
        worker = pod.start()
        await said(worker, FINISHED)
        await all_accepted(pod, made, database)
        assert made.signed_by(NEW) == [False, True, True, True]
        made.secrets = (NEW,)
        await again(pod, database)
        made.after = lambda: pod.signing.show(secrets=NEW) if len(made.requests) == 5 else None
        await said(worker, FINISHED)
        await all_accepted(pod, made, database)
        await ended(worker)
    assert made.signed_by(NEW) == [False] + [True] * 7
    assert made.signed_by(OLD) == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("entries", "reason"), [({}, "SigningSecretMissing"), ({"secrets": "whsec_hunter2!"}, "SigningSecretInvalid")]
)
async def test_nothing_is_sent_unsigned_while_the_secret_is_missing_or_malformed(
    sweeping: Any, database: str, entries: dict[str, str], reason: str
) -> None:
    """It is lost during the sweep, after the first of four requests."""
    made = Verifying(NEW)
    async with receiver(made.answer) as url:
        pod = await sweeping(url)
        pod.signing.show(secrets=NEW)
        made.after = lambda: pod.signing.show(**entries) if len(made.requests) == 1 else None
        worker = pod.start()
        for _ in range(2):  # the second pause is the probe's, which has reported by then
            await said(worker, PAUSES, reason=reason)
        assert len(made.requests) == 1
        finding = await pod.finding("Effect")
        assert (finding.ok, finding.reason, "hunter2" in finding.message) == (False, reason, False)
        assert '"current"' in finding.message
        pod.signing.show(secrets=NEW)
        await said(worker, FINISHED)
        await all_accepted(pod, made, database)
        await ended(worker)
    assert made.signed_by(NEW) == [True] * 4


@asynccontextmanager
async def signing(url: str, *secrets: str, clock: Callable[[], float] = time.time) -> AsyncIterator[WebhookEffect]:
    plan = batch_plan(url)
    assert plan.effect is not None
    assert plan.effect.webhook is not None
    effect = WebhookEffect(plan, plan.effect.webhook, dict, clock, lambda: secrets)
    try:
        yield effect
    finally:
        await effect.close()


async def test_a_retry_has_the_id_of_the_first_request_and_a_signature_of_its_own() -> None:
    seen: list[Mapping[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.Response(status=503 if len(seen) == 1 else 200)

    now = [1_000.9]
    async with receiver(answer) as url, signing(url, NEW, clock=lambda: now[0]) as effect:
        with pytest.raises(Outage):
            await effect.deliver_batch([FIRST, SECOND])
        now[0] = 1_060.2
        assert await effect.deliver_batch([SECOND, FIRST]) == [None, None]
    assert [headers["webhook-timestamp"] for headers in seen] == ["1000", "1060"]
    assert seen[0]["webhook-id"] == seen[1]["webhook-id"]
    assert seen[0]["webhook-signature"] != seen[1]["webhook-signature"]


@pytest.mark.parametrize("echoed", [OLD, NEW.removeprefix("whsec_")], ids=["whole", "key"])
async def test_a_refusal_that_echoes_a_signing_secret_is_stored_without_it(echoed: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=422, text=f"expected {echoed} here")

    async with receiver(answer) as url, signing(url, NEW, OLD) as effect:
        with pytest.raises(RowError) as caught:
            await effect.deliver(DELIVERY)
        (found,) = await effect.deliver_batch([FIRST])
    assert str(caught.value) == str(found) == "the receiver answered 422: expected *** here"


def behind() -> float:
    """The clock of a worker whose signatures are too old when they arrive."""
    return time.time() - TOLERANCE - 5


@contextmanager
def receiver_on_the_page(monkeypatch: pytest.MonkeyPatch, secrets: str) -> Iterator[tuple[str, set[str]]]:
    """Serves with the program of docs/webhooks.md. Yields its URL and the keys that it has processed."""
    monkeypatch.setenv("WEBHOOK_SECRETS", secrets)
    program: dict[str, Any] = {"__name__": "receiver"}
    exec(PAGE.split("```python\n")[1].split("```")[0], program)
    program["Receiver"].log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), program["Receiver"]) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}", program["done"]
        finally:
            serving.shutdown()
            thread.join()


async def test_the_receiver_on_the_page_verifies_and_reports_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        dataclasses.replace(DELIVERY, key=(key,), idempotency_key=f"key-{key}", values={"id": 1, "email": email})
        for key, email in (("1", "ann@example.com"), ("2", None))
    ]
    with receiver_on_the_page(monkeypatch, f"{UNKNOWN} {OLD}") as (url, done):
        async with signing(url, NEW, OLD) as effect:
            for _ in range(2):  # the second time it knows the key
                first, second = await effect.deliver_batch(rows)
                assert (first, str(second), type(second)) == (None, "no e-mail address", Reject)
        assert done == {"key-1"}
        done.clear()
        for secrets, clock in (((NEW,), time.time), ((OLD,), behind), ((), time.time)):
            async with signing(url, *secrets, clock=clock) as effect:
                (outcome,) = await effect.deliver_batch(rows[:1])
            assert isinstance(outcome, RowError)
            assert (outcome.error, "the signature is wrong" in str(outcome)) == ("Http401", True)
        assert done == set()
