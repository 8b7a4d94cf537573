"""The address of the metrics endpoint, ``[HOST]:PORT``, as ``kubesweep run --metrics`` and KUBESWEEP_METRICS give it."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from kubesweep.errors import SpecError

__all__ = ["Address", "parse_address"]

MOST = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` None: all addresses of the machine. ``port`` 0: any free port."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def listen(self) -> socket.socket:
        """A socket that listens there. Raises OSError."""
        if self.host is not None:
            family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((self.host, self.port), family=family)
        if socket.has_dualstack_ipv6():
            try:
                return socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
            except OSError:  # IPv6 is off, or the port is taken: IPv4 shows which
                pass
        return socket.create_server(("", self.port))


def parse_address(text: str, source: str) -> Address:
    """``source``: what gave the address, for the message. Raises SpecError."""
    host, colon, port = text.rpartition(":")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bare = ":" in name and name == host  # an IPv6 address without its brackets
    if not colon or bare or not (port.isascii() and port.isdecimal()) or int(port) > MOST:
        raise SpecError(
            "BadMetricsAddress",
            f"{source} {text}: write [HOST]:PORT with a port up to {MOST}, such as :9108 for all addresses of this machine, or "
            "127.0.0.1:9108",
        )
    return Address(name or None, int(port))
