"""Take the pictures of docs/console.md: ``make console-pictures`` -> docs/images/console-*.png.

A headless Chromium shows the console of a made queue (:mod:`tools.console_scene`) at a fixed moment. It needs Debian's packages
``chromium`` and ``chromium-driver``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientSession, web

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Claim, ScheduleRef, Settlement
from kubesweep_cli.dashboard.actions import QueueActions
from kubesweep_cli.dashboard.provider import QueueProvider
from kubesweep_console.app import build_console
from kubesweep_console.settings import ConsoleSettings
from tests.kits.browser import Browser, chromium
from tools.console_scene import LIMITS, Scene

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
KEY = "picture"
SWEEP = "/schedules/shop/expire-sessions/sweeps/latest"
STEPS = 30  # readings of the running sweep
INTERVAL = 0.05  # seconds between two of them, by the real clock
T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    name: str
    path: str
    width: int
    height: int
    scheme: str = "light"
    opened: str = ""  # what is clicked before


PICTURES = (
    Picture("fleet", "/", 1200, 640),
    Picture("schedule", "/schedules/shop/close-abandoned-carts", 1000, 800),
    Picture("sweep", SWEEP, 900, 1090),
    Picture("databases", "/databases", 1000, 700),
    Picture("dead-letters", "/schedules/billing/notify-overdue/dead-letters", 900, 620, "dark", "summary"),
)


class Served:
    """The console of the scene. Its clock stands still while pictures are taken."""

    def __init__(self, scene: Scene) -> None:
        self._now = NOON
        self._scene = scene
        self._queue = connect(scene.url, clock=self.now)
        loaded = list(scene.loaded.values())
        queue, now = self._queue, self.now
        provider = QueueProvider(queue, "redis://queue:6379/0", None, loaded, now=now, called="kubesweep")
        settings = ConsoleSettings(key=KEY, clock=now, interval=INTERVAL)
        self._runner = web.AppRunner(
            build_console(provider, settings, QueueActions(queue, provider)), access_log=None, shutdown_timeout=1.0
        )

    def now(self) -> float:
        return self._now

    async def start(self) -> str:
        """The address."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        await self._watch(f"{address}{SWEEP}")
        return address

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._queue.close()

    async def _watch(self, page: str) -> None:
        """Read the page of a sweep again and again while it progresses, at half of its speed from the middle on."""
        one = self._scene.loaded["expire-sessions"]
        slow = (await self._queue.stats([one.ref]))[0].throttled(NOON)
        assert slow is not None
        await self._queue.report(one.ref, msgspec.structs.replace(slow, ok=True, throttle=None, at=NOON - 60))
        (claim,) = (await self._queue.claim(one.ref, "picture", 1, LIMITS)).jobs
        async with ClientSession() as session:
            for step in range(STEPS):
                self._now = NOON - 1.5 * (STEPS - 1 - step)
                if step == STEPS // 2:
                    await self._queue.report(one.ref, msgspec.structs.replace(slow, at=self._now))
                rows = (900 if step < STEPS // 2 else 450) + 37 * (step % 3)
                claim = await self._settle(one.ref, claim, rows)
                await asyncio.sleep(INTERVAL)
                async with session.get(page) as answer:
                    answer.raise_for_status()

    async def _settle(self, ref: ScheduleRef, claim: Claim, rows: int) -> Claim:
        """Settle so many rows. Returns what is in progress then."""
        done = min(rows, claim.job.rows)
        rest = msgspec.structs.replace(claim.job, rows=claim.job.rows - done) if done < claim.job.rows else None
        settlement = Settlement(claim, applied=done, rest=rest)
        settled = await self._queue.settle(ref, "picture", [settlement], 0 if rest else 1, LIMITS)
        return msgspec.structs.replace(claim, job=rest) if rest else settled.claims.jobs[0]


@contextmanager
def scene_served(folder: Path) -> Iterator[str]:
    """The address of a console in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    async def make() -> Served:
        return Served(await Scene.made(folder, NOON))

    try:
        served = run(make())
        try:
            yield run(served.start())
        finally:
            run(served.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def take(browser: Browser, address: str, one: Picture, folder: Path) -> Path:
    browser.scheme(one.scheme)
    browser.size(one.width, one.height)
    browser.open(address + one.path)
    if one.opened:
        browser.find(one.opened).click()
        browser.script("document.activeElement.blur()")
    file = folder / f"console-{one.name}.png"
    file.write_bytes(browser.driver.get_screenshot_as_png())
    return file


def record(folder: Path) -> list[Path]:
    """Take all pictures. Returns their files."""
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory() as profile,
        scene_served(Path(name)) as address,
        chromium(Path(profile)) as browser,
    ):
        browser.open(f"{address}/?key={KEY}")
        return [take(browser, address, one, folder) for one in PICTURES]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.record_console", description="Take the pictures.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    for file in record(parser.parse_args().folder):
        print(f"wrote {file}, {file.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
