"""Loads the Lua scripts. The first lines of a file are its directives::

    -- flags: allow-oom      flags of the script for the server
    -- needs: sweeps claims  files that are inserted between prelude.lua and the script, in this order

``allow-oom`` marks scripts that end work or lead to its end, which must run when memory is short. The server refuses all
other scripts then, before they write anything. ``no-writes`` marks scripts that only read.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

KEY_NAMES = (
    "meta",
    "work",
    "sweeps",
    "leases",
    "rest",
    "delayed",
    "excluded",
    "dead",
    "findings",
    "early",
    "wake",
    "marker",
)


class Script(NamedTuple):
    name: str
    source: str
    sha: str  # for EVALSHA


@cache
def script(name: str) -> Script:
    flags, needs = _directives(_read(name))
    shebang = f"#!lua flags={flags[0]}" if flags else "#!lua"
    source = "\n".join([shebang, *(_read(part) for part in ("prelude", *needs, name))])
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@lru_cache(maxsize=1000)  # they take 1.2 KB: a controller has thousands of schedules, a worker has one
def keys(prefix: str) -> tuple[bytes, ...]:
    """All keys of the schedule with this prefix, in the order that prelude.lua reads them."""
    return tuple(f"{prefix}:{name}".encode() for name in KEY_NAMES)


def _directives(text: str) -> tuple[list[str], list[str]]:
    found: dict[str, list[str]] = {"flags": [], "needs": []}
    for line in text.splitlines():
        name, colon, value = line.removeprefix("-- ").partition(": ")
        if not line.startswith("-- ") or not colon or name not in found:
            break
        found[name] = value.split()
    return found["flags"], found["needs"]


@cache
def _read(name: str) -> str:
    return resources.files("kubesweep.queue.redis").joinpath("lua", f"{name}.lua").read_text("utf-8")
