"""`kubesweep dashboard` as a process, on the scene of tools/console_scene.py."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats
from kubesweep.queue.service import QueueService
from tests.integration.command_line import CommandLine, read_until
from tests.kits.deadlines import scaled
from tools.console_scene import Scene

T = TypeVar("T")


@dataclass
class Dashboard:
    link: str
    scene: Scene
    process: subprocess.Popen[str]

    @property
    def origin(self) -> str:
        return self.link.partition("/?")[0]

    def on_queue(self, work: Callable[[QueueService], Awaitable[T]]) -> T:
        """The result of ``work`` on a connection of its own."""

        async def connected() -> T:
            queue = connect(self.scene.url)
            try:
                return await work(queue)
            finally:
                await queue.close()

        return asyncio.run(connected())

    def stats(self, name: str) -> Stats:
        (found,) = self.on_queue(lambda queue: queue.stats([self.scene.loaded[name].ref]))
        return found

    def purge(self, name: str, *keys: str) -> None:
        chosen = [(key,) for key in keys] or None
        self.on_queue(lambda queue: queue.purge(self.scene.loaded[name].ref, keys=chosen))


@contextmanager
def served(cli: CommandLine) -> Iterator[Dashboard]:
    scene = asyncio.run(Scene.made(cli.folder, time.time()))
    process = cli.start("dashboard", "-f", str(scene.file), "--queue", scene.url, "--port", "0")
    link = read_until(process.stdout, "http://").strip()
    yield Dashboard(link, scene, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=scaled(60))
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
