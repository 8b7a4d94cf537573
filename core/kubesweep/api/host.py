"""Checks the syntax of host names. Only a resolver can find out whether a host exists."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["check_host"]

MOST_LABEL, MOST_NAME = 63, 253
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")


def check_host(host: str) -> None:
    """Raises ValueError for a host of a URL that cannot be a valid name or address."""
    if _is_address(host):
        return
    if len(host) > MOST_NAME:
        raise ValueError(f"more than {MOST_NAME} characters")
    *_, last = labels = host.removesuffix(".").split(".")
    if last.isdecimal() and len(labels) > 4:
        raise ValueError("not an IPv4 address")
    for label in labels:
        _check_label(label)


def _is_address(host: str) -> bool:
    parts = host.removesuffix(".").split(".")
    kind, text = ("IPv6", host[1:-1]) if host.startswith("[") else ("IPv4", ".".join(parts))
    if kind == "IPv4" and not (len(parts) == 4 and all(part.isdecimal() for part in parts)):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"not an {kind} address") from None
    return True


def _check_label(label: str) -> None:
    if not label:
        raise ValueError("two dots in a row, or only dots")
    if not label.isascii():
        try:
            label = label.encode("idna").decode()
        except UnicodeError:
            raise ValueError("a part that is not a valid international name") from None
    if len(label) > MOST_LABEL:
        raise ValueError(f"a part of more than {MOST_LABEL} characters")
    if not _LABEL.fullmatch(label):
        raise ValueError("a part with invalid characters, or with a hyphen at its beginning or end")
