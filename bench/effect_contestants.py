"""The contestants of bench/effects.py: each starts its processes, and then works until no row of the table is stale."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from bench import kubesweep_sweep
from bench.peers.effects import EffectSettings
from bench.queue_competitors import PEERS, ROOT, folder
from kubesweep.api.plan import Effect, Plan, Webhook
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, SweepRequest

BATCH = 50  # rows of one request, where requests are batched
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Started:
    """``go`` lets the processes begin."""

    processes: list[subprocess.Popen[str]]
    go: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Contestant:
    """``share``: of the rows, so that each takes some seconds."""

    name: str
    share: float
    start: Callable[[EffectSettings], Iterator[Started]]

    @contextmanager
    def run(self, settings: EffectSettings) -> Iterator[Started]:
        yield from self.start(settings)


@contextmanager
def processes(*commands: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """Each in a process group of its own, ready, and killed at the end."""
    environment = {**os.environ, "NODE_PATH": str(folder() / "node_modules"), "PYTHONWARNINGS": "ignore"}
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "ROLE": command[-2], "SETTINGS": command[-1]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        for one in started:
            assert one.stdout is not None
            if not one.stdout.readline():
                raise RuntimeError(f"{one.args!r} ended before it was ready")
        yield started
    finally:
        for one in started:
            os.killpg(one.pid, signal.SIGKILL)
            one.communicate()


def say_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def peer(*command: str) -> Callable[[EffectSettings], Iterator[Started]]:
    """A program of bench/peers with the roles ``work`` and ``fill``."""

    def start(settings: EffectSettings) -> Iterator[Started]:
        text = json.dumps(asdict(settings))
        with processes((*command, "work", text)) as worker, processes((*command, "fill", text)) as producer:
            yield Started([*worker, *producer], lambda: say_go(producer[0]))

    return start


def kubesweep(batch: int = 1) -> Callable[[EffectSettings], Iterator[Started]]:
    """One worker process. ``batch``: webhook.batchRows."""

    def start(settings: EffectSettings) -> Iterator[Started]:
        plan, queue_url = _plan(settings, batch), settings.redis
        with processes((sys.executable, "-m", "bench.worker", plan.to_json(), settings.database, queue_url)) as worker:
            yield Started(worker, lambda: asyncio.run(_open_sweep(plan, queue_url)))

    return start


def _plan(settings: EffectSettings, batch: int) -> Plan:
    """Two jobs at a time, which is the default, so each may run half of the concurrent effects."""
    size = kubesweep_sweep.Size(workers=1)
    if settings.effect.startswith("http"):
        webhook = Webhook(settings.effect, batch_rows=batch)
        effect = Effect(webhook=webhook, concurrency=settings.concurrency // size.concurrency)
    else:
        handler = f"bench.handlers:{settings.effect}"
        effect = Effect(handler=handler, concurrency=settings.concurrency // size.concurrency)
    return msgspec.structs.replace(kubesweep_sweep.plan(size), effect=effect)


async def _open_sweep(plan: Plan, queue_url: str) -> None:
    queue = connect(queue_url)
    try:
        opened = await queue.open_sweep(plan.ref, SweepRequest(tick=time.time(), plan=plan.version))
        assert opened.answer is OpenResult.ENQUEUED
    finally:
        await queue.close()


def _python(program: str) -> tuple[str, str]:
    return str(folder() / "effects/bin/python"), str(PEERS / program)


KUBESWEEP = Contestant("kubesweep", 1.0, kubesweep())
BATCHED = Contestant("kubesweep, batchRows", 1.0, kubesweep(BATCH))
BULLMQ = Contestant("bullmq", 0.25, peer("node", str(PEERS / "effects_bullmq.js")))
CELERY = Contestant("celery", 0.05, peer(*_python("effects_celery.py")))
PROCRASTINATE = Contestant("procrastinate", 0.05, peer(*_python("effects_procrastinate.py")))


def cpu(*roots: int) -> float:
    """Seconds of processor time of these processes and their descendants so far, also of those that ended."""
    parents: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:  # it ended
            continue
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
            used[int(entry.name)] = sum(map(int, fields[11:15]))
    found, pending = 0, list(roots)
    while pending:
        pid = pending.pop()
        found += used.get(pid, 0)
        pending += parents.get(pid, [])
    return found / CLOCK_TICKS
