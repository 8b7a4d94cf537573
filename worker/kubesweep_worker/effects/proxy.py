"""The proxy that the usual variables name: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in small letters too.

NO_PROXY takes names, suffixes (``.svc``), addresses, networks (``10.0.0.0/8``) and ``*``. A receiver on this host is never
reached through a proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
import urllib.request
from urllib.parse import urlsplit

__all__ = ["proxy_for"]


def proxy_for(url: str) -> str | None:
    """The proxy's URL for a receiver's, None for a direct connection."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme)
    if not proxy or host == "localhost" or _bypassed(host, proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


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
