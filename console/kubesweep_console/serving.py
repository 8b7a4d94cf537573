"""The console's web server on this machine. On a loopback address its link carries a key: the browser that opens the link may act.

A private console is read with the key only. It shows what its owner may read in a cluster, and every user of the machine can connect to a
loopback address.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from kubesweep.errors import SpecError
from kubesweep.listen_address import LOOPBACK, Address
from kubesweep_console.provider import Actions, DataProvider
from kubesweep_console.settings import ConsoleSettings

__all__ = ["serving", "until_signal"]

_NAMES = frozenset({LOOPBACK, "localhost", "::1"})


@asynccontextmanager
async def serving(
    address: Address, provider: DataProvider, actions: Actions | None = None, *, private: bool = False
) -> AsyncIterator[str]:
    """Serve the console, and yield its link. ``private``: without the key nothing is shown; only for a loopback address.

    Raises SpecError where the address cannot be used.
    """
    from kubesweep_console.app import build_console  # imported late: a run without a console needs no templates

    key = secrets.token_urlsafe(24) if address.loopback else ""
    hosts = _NAMES | {str(address.host)} if address.loopback else None
    if private and not key:
        raise SpecError("BadAddress", f"the console is for this machine alone: write a port, or {LOOPBACK}:PORT.")
    settings = ConsoleSettings(hosts=hosts, key=key, private=private)
    app = build_console(provider, settings, actions if key else None)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, address.host, address.port)
            await site.start()
        except OSError as error:
            raise SpecError("BadAddress", f"the console cannot listen on {address}: {error.strerror}.") from None
        link = f"http://{Address(address.host, runner.addresses[0][1])}/"
        yield f"{link}?key={key}" if key else link
    finally:
        await runner.cleanup()


async def until_signal() -> None:
    """Wait for SIGINT or SIGTERM."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
