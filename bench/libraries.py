"""What four parts of our own cost beside the library that would replace each of them.

    python -m bench.libraries            # as in RESULTS.md: two minutes
    python -m bench.libraries --smoke    # seconds; the figures mean nothing

The parts are: msgspec beside pydantic for what travels through the queue, the connection pool of a worker beside psycopg_pool,
the connections of the Redis queue beside redis-py's own way to run a command, and the client of the Kubernetes API beside the
package kubernetes. Contestants take turns in each round, and medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import psycopg_pool
import pydantic
from aiohttp import web

from bench.servers import postgres
from kubesweep.queue.model import Job, JobKind, PlanVersion
from kubesweep.queue.redis.connections import LeasedConnections, close_client, encode_command, open_client, parse
from kubesweep_worker.sources.postgres.pool import Pool, Timeouts
from tests.kits.servers import Server

Run = Callable[[], Awaitable[None]]
SETTINGS = ("SET LOCAL lock_timeout = 300", "SET LOCAL statement_timeout = 30000", "SET LOCAL TimeZone = 'UTC'")
READ = "SELECT id::text FROM t WHERE id > 10 ORDER BY id LIMIT 20"
SCRIPT = "return redis.call('HGET', KEYS[1], ARGV[1])"


async def compare(title: str, unit: str, count: int, rounds: int, **contestants: Run) -> None:
    """Print operations a second and CPU microseconds an operation of each; the first one is ours."""
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            await run()
            if turn:  # the first one warms up
                speeds[name].append(count / (time.perf_counter() - wall))
                costs[name].append((time.process_time() - cpu) / count * 1e6)
    print(f"\n{title}")
    ours = next(iter(contestants))
    for name in contestants:
        speed, cost = statistics.median(speeds[name]), statistics.median(costs[name])
        ratio = statistics.median(mine / other for mine, other in zip(speeds[ours], speeds[name], strict=True))
        print(f"  {name:36} {speed:12,.0f} {unit}/s {cost:8.1f} us CPU   ours/this {ratio:5.2f}")


class PydanticVersion(pydantic.BaseModel):
    generation: int
    hash: str


class PydanticJob(pydantic.BaseModel):
    """The fields of a Job that a range job has, for pydantic."""

    kind: JobKind
    plan: PydanticVersion | None = None
    sweep: str = ""
    cutoff: str | None = None
    low: tuple[str, ...] | None = None
    high: tuple[str, ...] | None = None
    keys: tuple[tuple[str, ...], ...] = ()
    rows: int = 0
    attempt: int = 1


async def records(count: int, rounds: int) -> None:
    """Encode and decode one range job, as each job does once on its way in and once on its way out."""
    job = Job(
        JobKind.RANGE,
        PlanVersion(3, "ab12cd34ef567890"),
        "s" * 32,
        "2026-01-01T00:00:00Z",
        ("1000",),
        ("2000",),
        rows=1000,
    )
    text = msgspec.json.encode(job)
    other = PydanticJob.model_validate_json(text)
    decoder = msgspec.json.Decoder(Job)

    async def with_msgspec() -> None:
        for _ in range(count):
            decoder.decode(msgspec.json.encode(job))

    async def with_pydantic() -> None:
        for _ in range(count):
            PydanticJob.model_validate_json(other.model_dump_json(exclude_defaults=True))

    await compare("jobs to JSON and back", "jobs", count, rounds, msgspec=with_msgspec, pydantic=with_pydantic)


async def transactions(count: int, rounds: int) -> None:
    """A transaction that reads 20 keys under three local settings, as the first statement of a batch does."""
    with postgres() as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
            connection.execute("CREATE INDEX ON t (id)")
        url = server.url("postgres")
        ours = Pool(lambda: url, 2, "bench", Timeouts(30.0))
        async with psycopg_pool.AsyncConnectionPool(url, min_size=2, max_size=2, open=False) as theirs:

            async def own() -> None:
                for _ in range(count):
                    async with ours.transaction(SETTINGS) as tx:
                        await tx.finish(READ)

            async def usual() -> None:
                for _ in range(count):
                    async with theirs.connection() as connection:
                        for setting in SETTINGS:
                            await connection.execute(setting)
                        await (await connection.execute(READ)).fetchall()

            async def pipelined() -> None:
                for _ in range(count):
                    async with theirs.connection() as connection, connection.pipeline():
                        for setting in SETTINGS:
                            await connection.execute(setting)
                        await (await connection.execute(READ)).fetchall()

            contestants = {
                "own pool, one message": own,
                "psycopg_pool": usual,
                "psycopg_pool, pipeline mode": pipelined,
            }
            await compare("short transactions on PostgreSQL", "transactions", count, rounds, **contestants)
        await ours.close()


async def calls(count: int, rounds: int) -> None:
    """A short script, sixteen at a time, as a worker's queue operations are."""
    server = Server("redis").start()
    client = open_client(parse(server.url))
    try:
        lines = LeasedConnections(client)
        sha = await client.script_load(SCRIPT)
        await client.hset("h", "f", "x" * 200)
        packed = encode_command(b"EVALSHA", sha.encode() if isinstance(sha, str) else sha, b"1", b"h", b"f")

        async def side_by_side(one: Callable[[], Awaitable[Any]]) -> None:
            async def several() -> None:
                for _ in range(count // 16):
                    await one()

            await asyncio.gather(*(several() for _ in range(16)))

        contestants = {
            "own connections": lambda: side_by_side(lambda: lines.send(packed)),
            "redis-py": lambda: side_by_side(lambda: client.execute_command("EVALSHA", sha, 1, "h", "f")),
        }
        await compare("short scripts on Redis", "calls", count, rounds, **contestants)
    finally:
        await close_client(client)
        server.remove()


OWN_CLIENT = """
import asyncio, sys
from kubesweep_controller.kube.client import SCHEDULES, KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
async def main():
    api = KubeClient(Kubeconfig(sys.argv[1]))
    print(len(await api.list(SCHEDULES, None)))
    await api.close()
asyncio.run(main())
"""
GENERATED_CLIENT = """
import sys
from kubernetes import client
configuration = client.Configuration(host=sys.argv[1])
api = client.CustomObjectsApi(client.ApiClient(configuration))
found, more = [], None
while more != "":
    page = api.list_cluster_custom_object("kubesweep.dev", "v1alpha1", "sweepschedules", limit=200, _continue=more)
    found += page["items"]
    more = page["metadata"].get("continue", "")
print(len(found))
"""


PEAK = """
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


async def _serve_list(objects: int) -> tuple[web.AppRunner, str]:
    """A server on loopback that answers a list in pages, as the API server does."""
    schedule = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {"name": "x", "namespace": "n", "resourceVersion": "1", "labels": {f"l{n}": "v" for n in range(5)}},
        "spec": {"every": "5m", "match": [{"column": "state", "in": ["open"]}] * 5, "write": {"delete": {}}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "message": "m" * 200}] * 5},
    }

    async def answer(asked: web.Request) -> web.Response:
        start, limit = int(asked.query.get("continue", 0)), int(asked.query["limit"])
        end = min(objects, start + limit)
        meta = {"resourceVersion": "1", **({"continue": str(end)} if end < objects else {})}
        return web.Response(
            text=json.dumps({"items": [schedule] * (end - start), "metadata": meta}), content_type="application/json"
        )

    application = web.Application()
    application.router.add_get("/apis/kubesweep.dev/v1alpha1/sweepschedules", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def clients(objects: int, rounds: int) -> None:
    """A process that imports a client and lists SweepSchedules: seconds, and its largest resident memory."""
    runner, url = await _serve_list(objects)
    wall: dict[str, list[float]] = {"own client": [], "kubernetes": []}
    memory: dict[str, list[float]] = {"own client": [], "kubernetes": []}
    try:
        for _ in range(rounds):
            for name, program in (("own client", OWN_CLIENT), ("kubernetes", GENERATED_CLIENT)):
                began = time.perf_counter()
                measured = program + PEAK
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", measured, url, stdout=subprocess.PIPE
                )
                output, _ = await process.communicate()
                found, kilobytes = output.split()
                assert int(found) == objects, output
                wall[name].append(time.perf_counter() - began)
                memory[name].append(int(kilobytes) / 1024)
    finally:
        await runner.cleanup()
    print(f"\nlisting {objects:,} SweepSchedules with a new process")
    for name, seconds in wall.items():
        print(f"  {name:36} {statistics.median(seconds):8.2f} s {statistics.median(memory[name]):8.0f} MiB")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="run each for a moment, to see that it works")
    smoke = parser.parse_args().smoke
    rounds, scale = (1, 100) if smoke else (7, 1)
    await records(100_000 // scale, rounds)
    await transactions(3_000 // scale, rounds)
    await calls(32_000 // scale, rounds)
    await clients(5_000 // scale, rounds)


if __name__ == "__main__":
    asyncio.run(main())
