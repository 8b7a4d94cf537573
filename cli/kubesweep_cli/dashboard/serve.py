"""The console's web server on this machine. On a loopback address its link carries a key, and who opens it may act."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from kubesweep.errors import SpecError
from kubesweep_console.provider import Actions, DataProvider
from kubesweep_console.settings import ConsoleSettings

__all__ = ["Address", "parse_address", "serving"]

LOOPBACK = "127.0.0.1"
_NAMES = frozenset({LOOPBACK, "localhost", "::1"})


class Address(NamedTuple):
    host: str
    port: int  # 0: any free one

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int) -> str:
        return f"http://[{self.host}]:{port}/" if ":" in self.host else f"http://{self.host}:{port}/"


def parse_address(text: str) -> Address:
    """``8720``, ``0.0.0.0:8720`` or ``[::1]:8720``. Raises SpecError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise SpecError(
            "BadAddress",
            f"the address of the console is {text[:64]!r}: write a port, such as 8720, or HOST:PORT.",
        )
    return Address(host, int(port))


@asynccontextmanager
async def serving(address: Address, provider: DataProvider, actions: Actions) -> AsyncIterator[str]:
    """Serve the console, and yield its link. Raises SpecError where the address cannot be used."""
    from kubesweep_console.app import build_console  # imported late: a run without a console needs no templates

    key = secrets.token_urlsafe(24) if address.loopback else ""
    hosts = _NAMES | {address.host} if address.loopback else None
    app = build_console(provider, ConsoleSettings(hosts=hosts, key=key), actions if key else None)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, address.host, address.port)
            await site.start()
        except OSError as error:
            raise SpecError(
                "BadAddress", f"the console cannot listen on {address.host}:{address.port}: {error.strerror}."
            ) from None
        port = runner.addresses[0][1]
        yield f"{address.url(port)}?key={key}" if key else address.url(port)
    finally:
        await runner.cleanup()
