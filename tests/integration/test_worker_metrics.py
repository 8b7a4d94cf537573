"""A real sweep on Redis and PostgreSQL, scraped over HTTP: the metrics have what the queue and the receiver counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from kubesweep.api.plan import Effect, Plan, RetryPolicy, RowLimits, Webhook
from kubesweep.listen_address import Address
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepRequest, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_worker.metrics.endpoint import metrics_endpoint
from kubesweep_worker.phases import PHASES
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from tests.integration.pod import ROWS, Pod, make_carts, pod_plan
from tests.integration.pod_logs import ended, said
from tests.integration.receivers import receiver
from tests.kits.servers import Server, free_port

OUTCOMES = ("applied", "skipped", "unconfirmed", "retrying", "dead")


class Scraped:
    def __init__(self, text: str) -> None:
        self.samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def by(self, name: str, label: str) -> dict[str, float]:
        return {s.labels[label]: s.value for s in self.samples if s.name == f"kubesweep_worker_{name}"}

    def one(self, name: str, **labels: str) -> float:
        [found] = [
            s.value for s in self.samples if s.name == f"kubesweep_worker_{name}" and labels.items() <= s.labels.items()
        ]
        return float(found)


async def scrape(port: int) -> Scraped:
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        return Scraped(await answer.text())


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[QueueService]:
    made = connect(server.url)
    yield made
    await made.close()


async def swept(
    plan: Plan, database: str, server: Server, queue: QueueService, concurrency: int = 2
) -> tuple[Stats, Scraped, float]:
    """One sweep; the scrape after its end, and the seconds from before the worker to after the scrape."""
    await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
    began = time.monotonic()
    settings = WorkerSettings(concurrency=concurrency, backoff=0.01, max_backoff=0.05)
    worker = build_worker(plan, url=lambda: database, queue_url=server.url, settings=settings)
    async with metrics_endpoint(Address("127.0.0.1", 0), lambda: [worker.snapshot()], "") as port:
        assert port is not None
        await worker.run(until_settled=True)
        found = await scrape(port)
    (stats,) = await queue.stats([plan.ref])
    return stats, found, time.monotonic() - began


async def test_rows_calls_and_phases_are_those_of_the_sweep(database: str, server: Server, queue: QueueService) -> None:
    """Of the rows, a fifth is skipped, a fifth refused, and the receiver answers 503 to one of each ten first calls."""
    make_carts(database)
    answers: Counter[str] = Counter()
    refused: set[Any] = set()

    async def answer(request: web.Request) -> web.Response:
        [row] = (await request.json())["key"]
        status = 422 if int(row) % 5 == 0 else 204
        if int(row) % 10 == 1 and row not in refused:
            refused.add(row)
            status = 503
        answers[f"{status // 100}xx"] += 1
        return web.Response(status=status)

    async with receiver(answer) as url:
        effect = Effect(columns=("id",), webhook=Webhook(url, timeout=30.0), concurrency=4)
        plan = pod_plan(effect=effect, retry=RetryPolicy(max_attempts=2, backoff=3600.0, max_backoff=3600.0))
        stats, found, seconds = await swept(plan, database, server, queue)
    sweep = stats.sweep
    assert sweep is not None
    assert sweep.state is SweepState.COMPLETED
    assert found.by("rows_total", "outcome") == {outcome: getattr(sweep, outcome) for outcome in OUTCOMES}
    assert sweep.retrying > 0
    responses = {name: number for name, number in found.by("effect_responses_total", "class").items() if number}
    assert responses == answers
    assert found.one("effect_duration_seconds_count") == answers.total()
    jobs = found.one("job_duration_seconds_count", kind="batch")
    assert found.one("job_duration_seconds_count", kind="plan") == 1
    assert found.one("job_wait_seconds_count", kind="batch") == jobs >= ROWS / 10
    phases = found.by("phase_seconds_total", "phase")
    assert set(phases) == set(PHASES)
    assert all(phases[phase] > 0 for phase in ("read", "effect", "write", "settle"))
    durations = sum(found.one("job_duration_seconds_sum", kind=kind) for kind in ("plan", "batch", "check"))
    in_jobs = phases["read"] + phases["effect"] + phases["write"]
    assert in_jobs <= durations <= in_jobs + phases["settle"] + phases["throttled"]
    assert durations < sum(phases.values()) <= 2 * seconds


async def test_a_sweep_with_a_rate_spends_its_time_throttled(
    database: str, server: Server, queue: QueueService
) -> None:
    make_carts(database)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with receiver(answer) as url:
        effect = Effect(columns=("id",), webhook=Webhook(url, timeout=30.0), concurrency=4)
        plan = pod_plan(effect=effect, limits=RowLimits(batch_rows=10, rows_per_second=20.0))
        stats, found, seconds = await swept(plan, database, server, queue, concurrency=1)
    assert stats.sweep is not None
    assert stats.sweep.applied == ROWS
    phases = found.by("phase_seconds_total", "phase")
    assert phases["throttled"] > 0
    assert found.one("job_duration_seconds_sum", kind="batch") < sum(phases.values()) <= seconds


async def test_a_pod_serves_its_metrics_and_a_taken_port_does_not_stop_it(
    tmp_path: Path, server: Server, database: str
) -> None:
    make_carts(database)
    address = f"127.0.0.1:{free_port()}"
    first, second = (Pod(tmp_path / name, server, pod_plan()) for name in ("one", "two"))
    try:
        for pod in (first, second):
            pod.database.show(url=database)
        worker = first.start(environment={"KUBESWEEP_METRICS": address})
        entry = await said(worker, "working")
        assert entry["metrics"] == int(address.partition(":")[2])
        other = second.start(environment={"KUBESWEEP_METRICS": address})
        taken = await said(other, "no metrics are served")
        assert (taken["level"], address in taken["message"]) == ("warning", True)
        assert "KUBESWEEP_METRICS in spec.worker.env" in taken["message"]
        await said(other, "working")
        await ended(other)
        await first.open()
        await said(worker, "sweep finished")
        assert (await scrape(entry["metrics"])).by("rows_total", "outcome")["applied"] == ROWS
        await ended(worker)
    finally:
        await first.close()
        await second.close()
