"""What can be wrong with the login of a URL, told without any part of its password."""

from __future__ import annotations

__all__ = ["UNESCAPED", "has_unescaped_login"]

UNESCAPED = "its password has one of @ # / ? [ ] as it is: percent-encode the password (%40 for @, %23 for #, %2F for /, %3F for ?, %5B for [)"


def has_unescaped_login(url: str) -> bool:
    """Whether user or password hold characters that end them: each reader of the URL would take another part of it for the host,
    and show the rest of the password as such."""
    rest = url.partition("://")[2]
    head, slash, behind = rest.partition("/")
    if "@" in head:
        return any(character in head.rpartition("@")[0] for character in "@#?[]")
    _, colon, after = head.rpartition(":")
    return bool(slash and colon) and not after.isdecimal() and "@" in behind
