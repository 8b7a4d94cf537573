"""Documents of the console, and a provider that has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from kubesweep.errors import Outage
from kubesweep.queue.model import Attempt, DeadLetter, ErrorGroup
from kubesweep.timestamps import time_text
from kubesweep_console.app import build_console
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionRefused, DeadLetters, Document, Preview, Snapshot
from kubesweep_console.settings import ConsoleSettings

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
HOSTILE = '<script>alert("x")</script>\u202e\x1b[31m&\'"`'
KEY = "the-key-of-this-run"
CARTS = "/schedules/shop/carts"
Client = TestClient[Any, Any]
SPEC: dict[str, Any] = {
    "schedule": "*/5 * * * *",
    "timeZone": "Europe/Berlin",
    "source": {"table": "carts", "schema": "public", "urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
    "match": [{"column": "status", "in": ["open", "new"]}, {"column": "updated_at", "before": "now-24h"}],
    "write": {"update": [{"column": "status", "value": "abandoned"}]},
    "limits": {"maxRowsPerSweep": 5000, "approveAbove": {"rows": 100}},
    "retry": {"maxAttempts": 5},
    "deadLetters": {"retention": "168h", "haltAbove": 1000},
}


def sweep(
    state: str = "Completed", *, at: float = NOW - 100, took: float | None = 4.0, **fields: Any
) -> dict[str, Any]:
    """An entry of ``status.history``; ``took`` None: it has not ended."""
    entry: dict[str, Any] = {
        "id": "9f2c",
        "tick": time_text(at),
        "startTime": time_text(at),
        "mode": "Enforce",
        "state": state,
    }
    if took is not None:
        entry["completionTime"] = time_text(at + took)
    return {**entry, "planned": 10, "applied": 10, **fields}


def condition(kind: str, status: str, reason: str = "Because", message: str = "the message") -> dict[str, Any]:
    since = time_text(NOW - 3600)
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def document(name: str = "carts", namespace: str = "shop", *, spec: Any = None, **status: Any) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}"}
    return {"metadata": meta, "spec": SPEC if spec is None else spec, "status": status}


def schedule(name: str = "carts", namespace: str = "shop", **fields: Any) -> Schedule:
    return Schedule(document(name, namespace, **fields))


class Provider:
    """``outage``: raised by each call while it is set. ``preview`` and ``refusal`` answer for the actions."""

    title = "a provider of a test"
    first = "kubesweep run -f sweep.yaml"

    def __init__(self, *documents: Document) -> None:
        self.documents = documents
        self.letters = DeadLetters()
        self.outage: Outage | None = None
        self.preview_of = Preview("Ten rows change.", 10)
        self.refusal: ActionRefused | None = None
        self.reads = 0
        self.answers = asyncio.Event()  # while it is not set, nothing is answered
        self.answers.set()
        self.acted: list[tuple[Action, str]] = []

    async def snapshot(self) -> Snapshot:
        self.reads += 1
        await self.answers.wait()
        if self.outage is not None:
            raise self.outage
        return Snapshot(self.documents, NOW)

    async def dead_letters(self, document: Document) -> DeadLetters:
        if self.outage is not None:
            raise self.outage
        return self.letters

    def command(self, action: Action) -> str:
        return f"type {action.kind} {action.error}".strip()

    async def preview(self, action: Action) -> Preview:
        if self.refusal is not None:
            raise self.refusal
        return self.preview_of

    async def act(self, action: Action, nonce: str) -> str:
        if self.refusal is not None:
            raise self.refusal
        await self.answers.wait()
        self.acted.append((action, nonce))
        return f"It was done: {HOSTILE}"


@asynccontextmanager
async def serving(provider: Provider, *, acts: bool = True, **settings: Any) -> AsyncIterator[Client]:
    given = {"hosts": frozenset({"127.0.0.1"}), "key": KEY, "interval": 0.01, "clock": lambda: NOW, **settings}
    app = build_console(provider, ConsoleSettings(**given), provider if acts else None)
    async with TestClient(TestServer(app)) as client:
        yield client


async def log_in(client: Client) -> None:
    assert (await client.get("/", params={"key": KEY})).status == 200


async def fields(client: Client, path: str) -> dict[str, str]:
    """The hidden fields of the form on a page."""
    text = await (await client.get(path)).text()
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))


def full(name: str = "carts", text: str = "fine") -> dict[str, Any]:
    """A document in which every text that is shown is ``text``."""
    made = document(
        name,
        lastSweep=sweep("Failed", reason=text, message=text, sampleKeys=[text], cutoff=text, dead=3),
        history=[sweep(id="41aa")],
        queue={"dead": 3},
        conditions=[condition("Degraded", "True", "DeadLetters", text), condition(text, "True", text, text)],
        throttle={"reason": text, "percent": 50, "value": text, "limit": text, "message": text},
        signals=[{"name": text, "percent": 50, "value": text, "limit": text}],
        spec={
            "schedule": text,
            "source": {"table": text, "schema": text, "key": [text], "health": {"query": {"sql": text, "limit": text}}},
            "match": [{"column": text, "in": [text]}, {"sql": text}],
            "effect": {"handler": text},
            "write": {"update": [{"column": text, "value": text}]},
        },
    )
    return {**made, "database": text}


def letters(text: str) -> DeadLetters:
    attempt = Attempt(NOW, text, text, text)
    group = ErrorGroup(text, 3, text, NOW, NOW, ((text,),), text)
    return DeadLetters((group,), (DeadLetter((text,), text, text, NOW, "9f2c", (attempt,), text),))
