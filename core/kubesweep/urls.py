"""Checks the user and password in a URL, without showing any part of the password."""

from __future__ import annotations

import re

from kubesweep.text import clip

__all__ = ["BARE_PERCENT", "UNESCAPED", "can_be_host", "has_bare_percent", "has_unescaped_login", "shown_url"]

LONGEST = 200  # characters of a URL in a message
MOST_HOST = 253  # characters

UNESCAPED = "its password has an unescaped @ # / ? [ or ]: percent-encode the password (%40 for @, %23 for #, %2F for /, %3F for ?, %5B for [)"
BARE_PERCENT = "its password has a % that encodes no character: write %25 for it"


def has_unescaped_login(url: str) -> bool:
    """True if user or password have unescaped characters that end them.

    A parser would then take a part of the password for the host, and show it.
    """
    rest = url.partition("://")[2]
    head, slash, behind = rest.partition("/")
    if "@" in head:
        return any(character in head.rpartition("@")[0] for character in "@#?[]")
    path = re.split("[?#]", behind, maxsplit=1)[0]
    if head and "@" in path.partition(":")[2]:  # a slash in the name of the user
        return True
    _, colon, after = head.rpartition(":")
    return bool(slash and colon) and not after.isdecimal() and "@" in behind


def has_bare_percent(url: str) -> bool:
    """True if user or password have a % without two hexadecimal digits, which libpq refuses with a message that shows them."""
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return re.search(r"%(?![0-9A-Fa-f]{2})", login) is not None


def shown_url(url: str) -> str:
    """The URL for a message: without user and password, and without options, which may be passwords too."""
    scheme, slashes, rest = url.partition("://")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) or not slashes:
        scheme, slashes, rest = "", "", url
    before, *options = re.split("[?#]", rest, maxsplit=1)
    if "@" not in before and any("@" in each for each in options):
        before = "..."  # a password with an unescaped ? or #, or an option with an @
    return clip(f"{scheme}{slashes}{before.rpartition('@')[2]}".replace("\n", " "), LONGEST)


def can_be_host(host: str) -> bool:
    """False for a text that no resolver takes as a name or an address."""
    if len(host) > MOST_HOST:
        return False
    try:
        host.encode("idna")
    except UnicodeError:  # a part that is empty, too long, or not a valid international name
        return False
    return host.isprintable() and not re.search(r"[\s/?#@\[\]]", host)
