"""What does the console's fleet page cost, compared with the JSON of its data alone?

    python -m bench.console                     # as in RESULTS.md
    python -m bench.console --smoke             # seconds; the figures mean nothing

Two processes have the same documents of 1,000 schedules, with eleven sweeps each. One answers with them as JSON, the other with the fleet page,
once with all schedules and once with the first hundred, which is what a browser gets. The requests take turns.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.command_line import make_parser, options_of, write_figures
from kubesweep.timestamps import time_text

JSON, PAGE = "json", "page"
ROUTES = {"JSON": (JSON, "/data"), "fleet page, all": (PAGE, "/?all=1"), "fleet page, 100": (PAGE, "/")}


@dataclass(frozen=True, slots=True)
class Options:
    schedules: int = 1000
    rounds: int = 31


SMOKE = Options(schedules=20, rounds=3)


@dataclass(slots=True)
class Figures:
    seconds: list[float] = field(default_factory=list)
    size: int = 0  # bytes of the answer


def documents(count: int, now: float) -> tuple[dict[str, Any], ...]:
    """Schedules as the API server has them: most are fine, some run, some have dead letters."""
    return tuple(_document(number, now) for number in range(count))


def _document(number: int, now: float) -> dict[str, Any]:
    sweeps = [_sweep(number, at, now) for at in range(11)]
    dead = number % 17 == 0
    return {
        "metadata": {"namespace": f"team-{number % 40}", "name": f"schedule-{number}", "uid": f"uid-{number}"},
        "spec": {
            "schedule": f"{number % 60} */{1 + number % 6} * * *",
            "timeZone": "Europe/Berlin" if number % 2 else "Etc/UTC",
            "source": {
                "table": f"table_{number}",
                "urlFrom": {"secretKeyRef": {"name": f"db-{number % 100}", "key": "url"}},
            },
            "match": [{"column": "status", "in": ["open"]}, {"column": "updated_at", "before": "now-24h"}],
            "write": {"update": [{"column": "status", "value": "abandoned"}]},
        },
        "status": {
            "observedGeneration": 1,
            "conditions": _conditions(number, dead, time_text(now - 9000)),
            "lastScheduleTime": time_text(now - 100),
            "lastSweep": sweeps[0],
            "history": sweeps[1:],
            "queue": {"ready": 0, "running": 0, "delayed": 0, "dead": 7 if dead else 0},
            "ticks": {"enqueued": 900, "duplicate": 0, "forbidden": 3, "late": 0},
            "backlog": {
                "rows": 100 * number,
                "oldestTime": time_text(now - 60 * number),
                "inflowPerHour": 120,
                "outflowPerHour": 43_000,
            },
            **({"throttle": _THROTTLE} if number % 13 == 0 else {}),
        },
    }


def _conditions(number: int, dead: bool, since: str) -> list[dict[str, str]]:
    reasons = {
        "Ready": ("True", "Ready", "ticks are served"),
        "SourceReady": ("True", "Checked", "the table fits the spec"),
        "Autoscaling": ("True", "ScaledByKeda", "0 to 4 workers by the length of the queue"),
        "Suspended": ("False", "Active", "the schedule is active"),
        "Degraded": ("True", "DeadLetters", "7 rows are dead letters (7 Status404): see status.errors.")
        if dead
        else ("False", "AsExpected", "no row, tick or sweep needs attention"),
        "Stalled": ("False", "AsExpected", "no problem requires an edit of the spec"),
        "KeepingUp": ("False", "FallingBehind", "at these rates the backlog never empties")
        if number % 23 == 0
        else ("True", "KeepingUp", "about 120 rows an hour become stale, and about 43,000 an hour are finished"),
    }
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
        }
        for kind, (status, reason, message) in reasons.items()
    ]


_THROTTLE = {"reason": "ReplayLag", "percent": 50, "value": "1.2 s", "limit": "2.0 s", "message": "slowed to 50 %"}


def _sweep(number: int, at: int, now: float) -> dict[str, Any]:
    rows, start = 1000 + 13 * at + number, now - 100 - 300 * at
    runs = at == 0 and number % 9 == 0
    done: dict[str, Any] = {"id": f"{number:08x}{at:024x}", "tick": time_text(start), "mode": "Enforce"}
    counts = {
        "planned": rows,
        "applied": rows // 2 if runs else rows,
        "skipped": 0,
        "unconfirmed": 0,
        "retrying": 0,
        "dead": 0,
    }
    end = {"state": "Running"} if runs else {"state": "Completed", "completionTime": time_text(start + 4)}
    return done | {"reason": "", "startTime": time_text(start)} | end | counts


async def serve(kind: str, schedules: int) -> None:
    """Serve until stdin ends. Prints the port."""
    now = time.time()
    found = documents(schedules, now)
    app = _json_app(found) if kind == JSON else _console(found, now)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def _json_app(found: tuple[dict[str, Any], ...]) -> web.Application:
    async def data(_: web.Request) -> web.Response:
        return web.json_response(found)

    app = web.Application()
    app.add_routes([web.get("/data", data)])
    return app


def _console(found: tuple[dict[str, Any], ...], now: float) -> web.Application:
    from kubesweep_console.app import build_console
    from kubesweep_console.provider import Action, DeadLetters, Document, Snapshot
    from kubesweep_console.settings import ConsoleSettings

    class Fixed:
        title = "benchmark"
        first = ""

        async def snapshot(self) -> Snapshot:
            return Snapshot(found, now)

        async def dead_letters(self, document: Document) -> DeadLetters:
            return DeadLetters()

        def command(self, action: Action) -> str:
            return ""

    return build_console(Fixed(), ConsoleSettings(interval=0.0))


@contextmanager
def started(kind: str, schedules: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port."""
    command = [sys.executable, "-m", "bench.console", "--serve", kind, "--schedules", str(schedules)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def measure(options: Options) -> tuple[dict[str, Figures], dict[str, float]]:
    """Figures by contestant, and the most memory of each process in MiB."""
    found = {name: Figures() for name in ROUTES}
    with (
        started(JSON, options.schedules) as (json_process, json_port),
        started(PAGE, options.schedules) as (page, page_port),
    ):
        ports = {JSON: json_port, PAGE: page_port}
        for _ in range(options.rounds + 1):
            for name, (kind, path) in ROUTES.items():
                began = time.perf_counter()
                with urllib.request.urlopen(f"http://127.0.0.1:{ports[kind]}{path}") as answer:
                    found[name].size = len(answer.read())
                found[name].seconds.append(time.perf_counter() - began)
        memory = {JSON: _peak(json_process.pid), PAGE: _peak(page.pid)}
    for each in found.values():
        each.seconds.pop(0)  # it compiles the templates
    return found, memory


def _peak(pid: int) -> float:
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024


def report(found: dict[str, Figures], memory: dict[str, float]) -> str:
    base = statistics.median(found["JSON"].seconds)
    lines = [
        "| answer | ms, median | lowest..highest | x JSON | KiB | MiB of the process |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in found.items():
        median = statistics.median(one.seconds)
        low, high = 1000 * min(one.seconds), 1000 * max(one.seconds)
        mib = memory[ROUTES[name][0]]
        lines.append(
            f"| {name} | {1000 * median:.1f} | {low:.1f}..{high:.1f} | {median / base:.2f} | {one.size / 1024:,.0f} | {mib:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("console", __doc__, "20 schedules")
    parser.add_argument("--schedules", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--serve", choices=(JSON, PAGE), help="what the processes of the benchmark do")
    given = vars(parser.parse_args(arguments))
    if (kind := given.pop("serve")) is not None:
        asyncio.run(serve(kind, given["schedules"]))
        return 0
    options, file = options_of(given, Options(), SMOKE)
    found, memory = measure(options)
    write_figures(file, {"answers": {name: asdict(one) for name, one in found.items()}, "memory": memory})
    print(report(found, memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
