"""A queue with schedules in every state that the console shows, made through the queue's own operations.

The pictures of docs/console.md are taken of it, and the tests of the console use it. All times follow from the moment that is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from kubesweep.api.loading.files import Loaded, load
from kubesweep.api.models.spec import API_VERSION, KIND
from kubesweep.queue.model import (
    THROTTLE,
    Claim,
    FailedRow,
    Finding,
    Job,
    JobKind,
    Limits,
    Retry,
    Settlement,
    Signal,
    StaleRows,
    SweepRequest,
    SweepState,
    Throttle,
    Window,
)
from kubesweep.queue.sqlite.queue import SqliteQueue
from kubesweep_cli.shell.throttling import set_throttle

__all__ = ["LIMITS", "Scene"]

LIMITS = Limits(halt_above=10_000)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
CARTS = {"column": "updated_at", "before": "now-24h"}


@dataclass(frozen=True)
class Described:
    namespace: str
    name: str
    spec: dict[str, Any]


def _spec(table: str, **fields: Any) -> dict[str, Any]:
    source = {"table": table, "urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, **fields.pop("source", {})}
    rest = {"match": [{"column": "status", "in": ["open"]}, CARTS], "write": {"delete": {}}}
    return {"source": source, **rest, **fields}


UPDATE = {"update": [{"column": "status", "value": "abandoned"}]}
NOTIFY = {"webhook": {"url": "https://mail.example.com/overdue", "batchRows": 20}, "key": ["id"]}
SCHEDULES = (
    Described("shop", "close-abandoned-carts", _spec("carts", schedule="*/5 * * * *", timeZone="Europe/Berlin", write=UPDATE)),
    Described("shop", "expire-sessions", _spec("sessions", every="10m", source={"health": {"auto": True}})),
    Described("shop", "delete-old-logs", _spec("logs", every="30m", limits={"maxRowsPerSweep": 50_000})),
    Described("billing", "archive-invoices", _spec("invoices", schedule="0 3 * * *", limits={"approveAbove": {"rows": 10_000}})),
    Described("billing", "notify-overdue", _spec("overdue", schedule="@hourly", effect=NOTIFY, write=UPDATE)),
    Described("support", "purge-tickets", _spec("tickets", schedule="30 2 * * 1-5", timeZone="America/New_York")),
    Described("support", "anonymize-users", _spec("users", schedule="@daily", mode="DryRun")),
)  # fmt: skip


class Scene:
    """``folder`` gets the queue and the file. ``now``: the moment at which everything has been done."""

    def __init__(self, folder: Path, now: float) -> None:
        self.now = self._moment = now
        self.path = folder / "queue.db"
        self.file = folder / "sweeps.yaml"
        self.file.write_text(yaml.safe_dump_all(_objects(folder)), encoding="utf-8")
        self.loaded = {one.name: one for one in load([self.file])}
        self.queue = SqliteQueue(str(self.path), clock=lambda: self._moment)
        self._sweeps = 0

    @classmethod
    async def made(cls, folder: Path, now: float) -> Scene:
        """A complete scene. Its own connection is closed: open the queue by its ``url``."""
        scene = cls(folder, now)
        await scene.make()
        await scene.queue.close()
        return scene

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    async def make(self) -> None:
        carts = self.loaded["close-abandoned-carts"]
        for number, rows in enumerate((1310, 1275, 1402, 1333, 1290, 1351)):
            await self.sweep(carts, (6 - number) * 5 * MINUTE, rows, took=2.5, skipped=number % 3)
        logs = self.loaded["delete-old-logs"]
        for number, stale in enumerate((57_000, 74_500, 90_200, 107_800, 126_100, 140_000)):
            sweep = await self.sweep(logs, (6 - number) * 30 * MINUTE, 50_000, took=62.0 + number, capped=True)
            await self.queue.record_stale(logs.ref, sweep, StaleRows(stale, self._moment - DAY - number * HOUR))
        await self.sweep(self.loaded["expire-sessions"], 20 * MINUTE, 41_000, took=95.0)
        await self.running(self.loaded["expire-sessions"])
        await self.awaiting(self.loaded["archive-invoices"])
        await self.dying(self.loaded["notify-overdue"])
        await self.failing(self.loaded["purge-tickets"])
        await self.sweep(self.loaded["anonymize-users"], 8 * HOUR, 320, took=1.0)
        await set_throttle(self.queue, self.loaded["anonymize-users"].ref, "pause")
        self._moment = self.now

    async def open(self, one: Loaded, ago: float) -> str:
        self._moment = self.now - ago
        self._sweeps += 1
        request = SweepRequest(
            tick=self._moment, plan=one.plan.version, mode=one.plan.mode, dedup_key=f"scene/{self._sweeps}"
        )
        return (await self.queue.open_sweep(one.ref, request)).sweep

    async def claim(self, one: Loaded) -> Claim:
        (claim,) = (await self.queue.claim(one.ref, "scene", 1, LIMITS)).jobs
        return claim

    async def start(self, one: Loaded, ago: float, *rows: int, capped: bool = False) -> str:
        """A sweep with a job for each number of ``rows``."""
        sweep, plan = await self.open(one, ago), await self.claim(one)
        cutoff = datetime.fromtimestamp(self._moment, UTC).isoformat(" ")
        version, origin = one.plan.version, f"public.{one.plan.source.table}(id) #5ce4e0000000"
        jobs = tuple(
            Job(JobKind.RANGE, version, sweep, cutoff, low=(str(at),), high=(str(at + 1),), rows=size, origin=origin)
            for at, size in enumerate(rows)
        )
        await self.queue.advance(one.ref, plan, Window(cutoff, jobs, planned=sum(rows), origin=origin, capped=capped))
        return sweep

    async def sweep(
        self, one: Loaded, ago: float, rows: int, *, took: float, skipped: int = 0, capped: bool = False
    ) -> str:
        """A sweep that completed."""
        sweep = await self.start(one, ago, rows, capped=capped)
        self._moment += took
        await self.settle(one, Settlement(await self.claim(one), applied=rows - skipped, skipped=skipped))
        return sweep

    async def settle(self, one: Loaded, settlement: Settlement) -> None:
        await self.queue.settle(one.ref, "scene", [settlement], 0, LIMITS)

    async def running(self, one: Loaded) -> None:
        """A sweep in progress that the lag of a standby slows down."""
        await self.start(one, 55.0, 24_000, 500, *(6_000 for _ in range(6)))
        await self.settle(
            one, Settlement(await self.claim(one), applied=23_940, skipped=48, retry=(_retry(12, 300.0),))
        )
        self._moment = self.now - 2.0
        await self.claim(one)
        message = "replay lag 1.2 s is more than half of its limit 2 s: half of the speed"
        throttle = Throttle(0.5, "1.2 s", "2 s")
        signals = (
            Signal("replayLag", "2.0 s", "1.2 s", 0.5, 21.0),
            Signal("oldestXmin", "600 s", "8.4 s", seconds=50.0),
            Signal("lockWaits", "5", "0", seconds=50.0),
        )
        await self.queue.report(
            one.ref, Finding(THROTTLE, False, "ReplayLag", message, one.plan.version, self._moment, throttle, signals)
        )

    async def awaiting(self, one: Loaded) -> None:
        sweep = await self.open(one, 2 * HOUR)
        keys = tuple((str(number),) for number in range(90_001, 90_011))
        found = StaleRows(41_200, self.now - 400 * 24 * HOUR, newest=self.now - 3 * HOUR, samples=keys)
        await self.queue.record_stale(one.ref, sweep, found)
        message = "41,200 rows are stale: more than 10,000 (limits.approveAbove.rows). Nothing was changed"
        await self.queue.end_sweep(
            one.ref, await self.claim(one), SweepState.AWAITING_APPROVAL, "AboveApprovalLimit", message
        )

    async def dying(self, one: Loaded) -> None:
        """Seven rows that the receiver refused, and three that it did not answer, each with two attempts."""
        await self.start(one, HOUR, 240)
        self._moment += 4.0
        rejected, late = (
            _failed(7, 4100, "Status404", "the receiver answered 404: no such customer"),
            _failed(3, 9200, "Timeout", "the receiver did not answer within 10 s"),
        )
        await self.settle(one, Settlement(await self.claim(one), applied=230, retry=(Retry(rejected + late, 2, 2.0),)))
        self._moment += 3.0
        await self.settle(one, Settlement(await self.claim(one), dead=rejected + late))

    async def failing(self, one: Loaded) -> None:
        await self.sweep(one, 2 * DAY, 512, took=3.0)
        await self.open(one, 5 * HOUR)
        message = "table public.tickets: it does not exist; create it, or correct spec.source.table"
        await self.queue.report(
            one.ref, Finding("SourceReady", False, "TableMissing", message, one.plan.version, self._moment + 1)
        )
        await self.queue.end_sweep(one.ref, await self.claim(one), SweepState.FAILED, "TableMissing", message)


def _objects(folder: Path) -> list[dict[str, Any]]:
    schedules = [
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": each.name, "namespace": each.namespace}, "spec": each.spec}
        for each in SCHEDULES
    ]  # fmt: skip
    namespaces = sorted({each.namespace for each in SCHEDULES})
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": name},
            "stringData": {"url": f"postgresql://sweeper@{name}-db/{name}"},
        }
        for name in namespaces
    ]
    return [*schedules, *secrets]


def _failed(count: int, first: int, error: str, message: str) -> tuple[FailedRow, ...]:
    return tuple(FailedRow((str(first + 37 * number),), error, message) for number in range(count))


def _retry(count: int, delay: float) -> Retry:
    return Retry(_failed(count, 70_000, "LockNotAvailable", "the row is locked"), 2, delay)
