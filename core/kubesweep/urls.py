"""Checks the user and password in a URL, without showing any part of the password."""

from __future__ import annotations

__all__ = ["UNESCAPED", "has_unescaped_login"]

UNESCAPED = "its password has an unescaped @ # / ? [ or ]: percent-encode the password (%40 for @, %23 for #, %2F for /, %3F for ?, %5B for [)"


def has_unescaped_login(url: str) -> bool:
    """True if user or password have unescaped characters that end them.

    A parser would then take a part of the password for the host, and show it.
    """
    rest = url.partition("://")[2]
    head, slash, behind = rest.partition("/")
    if "@" in head:
        return any(character in head.rpartition("@")[0] for character in "@#?[]")
    _, colon, after = head.rpartition(":")
    return bool(slash and colon) and not after.isdecimal() and "@" in behind
