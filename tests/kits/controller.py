"""Simulates one schedule for the controller: a real queue in a file, a clock that tests move, an object that keeps its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubesweep.api.compile import compile_plan
from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.models.status import Status
from kubesweep.errors import Outage, SpecError
from kubesweep.queue.model import (
    Claim,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    Retry,
    ScheduleRef,
    Settlement,
    SweepRequest,
    SweepState,
    Window,
)
from kubesweep.queue.service import Opened, QueueService
from kubesweep_controller.kube.client import MANAGER, Kind, KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.reconcile.desired_pace import desired_pace
from kubesweep_controller.status.build_status import build_status
from kubesweep_controller.status.commands import CommandResult
from kubesweep_controller.status.conditions.result import find_condition
from kubesweep_controller.status.formatting import time_text
from kubesweep_controller.status.observation import Children, Observation

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
MANY = Limits(halt_above=10_000)
SPEC: dict[str, Any] = {
    "schedule": "*/5 * * * *",
    "source": {"urlFrom": {"secretKeyRef": {"name": "support-db", "key": "url"}}, "table": "conversations"},
    "match": [{"column": "status", "in": ["pending"]}, {"column": "expires_at", "before": "now"}],
    "write": {"update": [{"column": "status", "value": "expired"}]},
}


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class ScheduleSimulation:
    """One schedule, the queue that serves it, and its status so far."""

    def __init__(self, queue: QueueService, clock: Clock, spec: Mapping[str, Any] = SPEC) -> None:
        self.queue, self.clock = queue, clock
        self.children = Children(keda=True, scaled=True, cron_since=START)
        self.outage: Outage | None = None
        self.outage_seconds = 60.0  # seconds, while there is an outage
        self.refusal: SpecError | None = None
        self.writes = 0
        self.body: dict[str, Any] = {
            "apiVersion": "kubesweep.dev/v1alpha1",
            "kind": "SweepSchedule",
            "metadata": {
                "name": "close-idle",
                "namespace": "support",
                "uid": "8b5f6f0e-0000-4000-8000-000000000001",
                "generation": 1,
                "creationTimestamp": time_text(START - 3600),
                "annotations": {},
            },
            "spec": dict(spec),
            "status": {
                "observedGeneration": -1,
                "activeSchedule": {"name": "*/5 * * * * (Etc/UTC)", "since": time_text(START)},
            },
        }

    # what a user does

    def edit(self, **fields: Any) -> None:
        self.body["spec"] = self.body["spec"] | fields
        self.body["metadata"]["generation"] += 1

    def annotate(self, command: str, nonce: str) -> None:
        self.body["metadata"]["annotations"][f"kubesweep.dev/{command}"] = nonce

    # what the controller does

    @property
    def schedule(self) -> SweepSchedule:
        return SweepSchedule.model_validate({**self.body, "status": None})

    @property
    def plan(self) -> Any:
        return compile_plan(self.schedule, install="local")

    @property
    def ref(self) -> ScheduleRef:
        return ScheduleRef("local", "support", "close-idle", self.body["metadata"]["uid"])

    async def observation(self) -> Observation:
        """What one reconcile observes."""
        asked = self.outage is None
        (stats,) = await self.queue.stats([self.ref])
        groups = await self.queue.error_groups(self.ref)
        return Observation(
            body={**self.body, "status": dict(self.body["status"])},
            now=self.clock.now,
            ref=self.ref,
            schedule=None if self.refusal else self.schedule,
            refusal=self.refusal,
            plan=None if self.refusal else self.plan,
            pace=None if self.refusal else desired_pace(self.plan, self.body),
            stats=stats if asked else None,
            outage=self.outage,
            outage_seconds=self.outage_seconds if self.outage else 0.0,
            groups=groups if asked else (),
            children=self.children,
        )

    async def reconcile(self, *results: CommandResult) -> dict[str, Any]:
        """Build the status once and write it if it changed. Returns the current status."""
        observation = await self.observation()
        status = build_status(observation, results)
        if status != self.body["status"]:
            self.writes += 1
            Status.model_validate(status)
            self.body["status"] = status
        return status

    async def condition(self, type_: str) -> tuple[str, str]:
        """Reconcile once; status and reason of a condition."""
        condition = find_condition(await self.reconcile(), type_)
        assert condition is not None
        return condition["status"], condition["reason"]

    def message(self, type_: str) -> str:
        condition = find_condition(self.body["status"], type_)
        assert condition is not None
        return str(condition["message"])

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def child(self, **fields: Any) -> None:
        self.children = replace(self.children, **fields)

    # what workers do

    async def find(
        self, ok: bool = True, reason: str = "Checked", message: str = "fine", kind: str = "SourceReady"
    ) -> None:
        await self.queue.report(self.ref, Finding(kind, ok, reason, message, self.plan.version, self.clock.now))

    async def ready(self) -> None:
        """The check job of this plan ran and succeeded."""
        await self.queue.enqueue_check(self.ref, self.plan.version)
        (claim,) = (await self.queue.claim(self.ref, "ann", 1, MANY)).jobs
        await self.find()
        await self.settle(Settlement(claim))

    async def tick(self, tick: float | None = None, **request: Any) -> Opened:
        tick = self.clock.now if tick is None else tick
        return await self.queue.open_sweep(self.ref, SweepRequest(tick=tick, plan=self.plan.version, **request))

    async def claim(self) -> Claim:
        (claim,) = (await self.queue.claim(self.ref, "ann", 1, MANY)).jobs
        return claim

    async def start(self, rows: int, tick: float | None = None) -> Claim:
        """Start a sweep with one claimed job of so many rows."""
        sweep = (await self.tick(tick)).sweep
        job = Job(JobKind.RANGE, self.plan.version, sweep, "cutoff", low=("0",), high=("9",), rows=rows)
        assert await self.queue.advance(self.ref, await self.claim(), Window("cutoff", (job,), planned=rows))
        return await self.claim()

    async def settle(self, *settlements: Settlement) -> None:
        await self.queue.settle(self.ref, "ann", settlements, 0, MANY)

    async def sweep(self, rows: int = 3, tick: float | None = None) -> None:
        """Run a sweep to Completed, with every row applied."""
        await self.settle(Settlement(await self.start(rows, tick), applied=rows))

    async def dead_letter(self, *keys: str, error: str = "CheckViolation", tick: float | None = None) -> None:
        """Run a sweep whose rows all become dead letters."""
        claim = await self.start(len(keys), tick)
        await self.settle(Settlement(claim, dead=failed(*keys, error=error)))

    async def end(self, state: SweepState, reason: str, message: str, tick: float | None = None) -> None:
        """A sweep whose plan job ends it at once."""
        await self.tick(tick)
        assert await self.queue.end_sweep(self.ref, await self.claim(), state, reason, message)

    async def flush(self) -> None:
        """The queue loses everything."""
        await self.queue.forget(self.ref)


def failed(*keys: str, error: str = "CheckViolation") -> tuple[FailedRow, ...]:
    return tuple(FailedRow((key,), error, "the row was refused") for key in keys)


def retry(*keys: str, delay: float = 10.0) -> tuple[Retry, ...]:
    return (Retry(failed(*keys), 2, delay),)


class Recorder(KubeClient):
    """An API server that accepts and counts every apply."""

    def __init__(self) -> None:
        super().__init__(Kubeconfig("https://nowhere.example"))
        self.written: list[str] = []

    async def apply(
        self, kind: Kind, body: Mapping[str, Any], manager: str = MANAGER, *, force: bool = True
    ) -> dict[str, Any]:
        self.written.append(f"{body['metadata']['namespace']}/{body['metadata']['name']}")
        return dict(body)
