"""The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name, or the same variables in lower case.

NO_PROXY takes names, suffixes (``.svc``), addresses, networks (``10.0.0.0/8``) and ``*``. A receiver on
localhost is never reached through a proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import urllib.request
from urllib.parse import urlsplit

from kubesweep.api.host import check_host
from kubesweep.errors import Outage

__all__ = ["proxy_for"]


def proxy_for(url: str) -> str | None:
    """The proxy's URL for a receiver's URL, None for a direct connection. Raises Outage where the variable is not a proxy's URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme, "").strip()
    if not proxy or host == "localhost" or _bypassed(host, proxies):
        return None
    return _checked(proxy if "://" in proxy else f"http://{proxy}", f"{parts.scheme.upper()}_PROXY")


def _checked(proxy: str, variable: str) -> str:
    """The value may contain a password, so the message does not show it."""
    try:
        parts = urlsplit(proxy)
        host = parts.hostname or ""
        check_host(f"[{host}]" if ":" in host else host)
        # After a / ? or # in an unescaped password, the rest is not the host.
        usable = (
            parts.scheme in ("http", "https")
            and parts.port != 0
            and "@" not in parts.path + parts.query + parts.fragment
        )
        usable = usable and not re.search(r"[\s\x00-\x1f]", proxy)
    except ValueError:  # an invalid port, an unclosed bracket, an invalid name
        usable = False
    if not usable:
        raise Outage(
            "ProxyInvalid",
            f"{variable} in the worker's environment is not the URL of an HTTP proxy: write http://HOST:PORT, or unset it",
        )
    return proxy


def _bypassed(host: str, proxies: dict[str, str]) -> bool:
    address = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
    if address is not None:
        if address.is_loopback:
            return True
        for entry in proxies.get("no", "").split(","):
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return bool(urllib.request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]
