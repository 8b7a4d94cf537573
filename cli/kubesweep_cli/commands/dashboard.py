"""``kubesweep dashboard``: the console of a queue, without running anything."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from kubesweep.api.loading.files import load
from kubesweep.listen_address import LOOPBACK, parse_address
from kubesweep_cli.dashboard.actions import QueueActions
from kubesweep_cli.dashboard.provider import QueueProvider
from kubesweep_cli.dashboard.serve import serving
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.state_paths import queue_url
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_dashboard"]


async def run_dashboard(terminal: Terminal, files: Sequence[Path], option: str | None, port: str) -> Exit:
    """Serve until a signal. ``port``: a port, or HOST:PORT."""
    address = parse_address(port, "--port", LOOPBACK)
    loaded = load(files) if files else []
    where = queue_url(option)
    async with open_queue(where) as queue:
        await queue.schedules()  # a refused password is reported before anybody opens a page
        provider = QueueProvider(queue, where, option, loaded)
        async with serving(address, provider, QueueActions(queue, provider)) as link:
            terminal.line(link)
            terminal.say(
                "Ctrl-C ends it." if address.loopback else "It only shows: its address is not of this machine alone."
            )
            await _until_signal()
    return Exit.CLEAN


async def _until_signal() -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
