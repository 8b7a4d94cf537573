"""The address that a program listens on, as ``--metrics``, ``--ui`` and KUBESWEEP_METRICS give it: ``PORT`` or ``HOST:PORT``."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from kubesweep.errors import SpecError
from kubesweep.text import clip
from kubesweep.urls import can_be_host

__all__ = ["LOOPBACK", "Address", "parse_address"]

LOOPBACK = "127.0.0.1"
MOST = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` None: none was given. ``port`` 0: any free port."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Only programs on this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host or "").is_loopback
        except ValueError:
            return False

    def listen(self) -> socket.socket:
        """A socket that listens there, without a host on all addresses of the machine. Raises OSError."""
        if self.host is not None:
            family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((self.host, self.port), family=family)
        if socket.has_dualstack_ipv6():
            try:
                return socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
            except OSError:  # IPv6 is off, or the port is taken: IPv4 shows which
                pass
        return socket.create_server(("", self.port))


def parse_address(text: str, source: str, default: str | None = None) -> Address:
    """``8720``, ``:8720``, ``0.0.0.0:8720`` or ``[::1]:8720``. ``source``: the option that gave it. ``default``: the host of an address
    without one. Raises SpecError."""
    host, _, port = text.rpartition(":")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bare = ":" in name and name == host  # an IPv6 address without its brackets
    number = port.isascii() and port.isdecimal() and int(port.lstrip("0")[:6] or "0") <= MOST
    if bare or not number or not can_be_host(name):
        shown = clip(text, 64).replace("\n", " ")
        raise SpecError("BadAddress", f"{source} {shown}: write PORT or HOST:PORT, with a port up to {MOST}")
    return Address(name or default, int(port.lstrip("0") or "0"))
