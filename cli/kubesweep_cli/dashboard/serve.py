"""The console's web server on this machine. On a loopback address its link carries a key, and who opens it may act."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from kubesweep.errors import SpecError
from kubesweep.listen_address import LOOPBACK, Address
from kubesweep_console.provider import Actions, DataProvider
from kubesweep_console.settings import ConsoleSettings

__all__ = ["serving"]

_NAMES = frozenset({LOOPBACK, "localhost", "::1"})


@asynccontextmanager
async def serving(address: Address, provider: DataProvider, actions: Actions) -> AsyncIterator[str]:
    """Serve the console, and yield its link. Raises SpecError where the address cannot be used."""
    from kubesweep_console.app import build_console  # imported late: a run without a console needs no templates

    key = secrets.token_urlsafe(24) if address.loopback else ""
    hosts = _NAMES | {str(address.host)} if address.loopback else None
    app = build_console(provider, ConsoleSettings(hosts=hosts, key=key), actions if key else None)
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
