"""``kubesweep dashboard``: the console of a queue, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kubesweep.api.loading.files import load
from kubesweep.listen_address import LOOPBACK, parse_address
from kubesweep_cli.dashboard.actions import QueueActions
from kubesweep_cli.dashboard.provider import QueueProvider
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.state_paths import queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_console.serving import serving, until_signal

__all__ = ["run_dashboard"]


async def run_dashboard(terminal: Terminal, files: Sequence[Path], option: str | None, port: str) -> Exit:
    """Serve until a signal. ``port``: a port, or HOST:PORT."""
    address = parse_address(port, "--port", LOOPBACK)
    loaded = load(files) if files else []
    where = queue_url(option)
    async with open_queue(where, create=bool(files)) as queue:
        await queue.schedules()  # a refused password is reported before anybody opens a page
        provider = QueueProvider(queue, where, option, loaded)
        async with serving(address, provider, QueueActions(queue, provider)) as link:
            terminal.line(link)
            terminal.say(
                "Ctrl-C ends it." if address.loopback else "It only shows: its address is not of this machine alone."
            )
            await until_signal()
    return Exit.CLEAN
