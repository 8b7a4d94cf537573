"""Follows one object, or all of a kind, from the state that was read to each later one.

The API server ends a watch from time to time, and forgets old versions. Then the objects are listed again, so a caller sees every
change or a later state, and never waits for one that it missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from kubectl_sweep.cluster.errors import ApiRefused, Right
from kubectl_sweep.cluster.transport import Object, Transport

__all__ = ["Change", "Source", "follow"]

LONGEST = 300.0  # seconds of one watch; load balancers close idle connections
MARGIN = 15.0  # seconds after which a server that should have ended a watch counts as silent
GONE = 410  # the HTTP status for a version that the API server has forgotten
PAUSE = 1.0  # seconds between two watches, so that a server that ends each at once is not flooded


class Change(NamedTuple):
    """``kind``: LISTED, ADDED, MODIFIED or DELETED."""

    kind: str
    object: Object


class Source(NamedTuple):
    """What to follow: a path of a list, and a selector."""

    path: str
    right: Right
    selector: tuple[tuple[str, str], ...] = ()


def follow(
    transport: Transport,
    source: Source,
    listed: Callable[[], tuple[list[Object], str]],
    *,
    until: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Change]:
    """Yield each object as LISTED, then the changes. ``listed`` lists the objects and their version. Ends at ``until`` of ``clock``."""
    version = ""
    while until is None or clock() < until:
        if not version:
            found, version = listed()
            yield from (Change("LISTED", each) for each in found)
        left = LONGEST if until is None else min(LONGEST, until - clock())
        if left <= 0:
            return
        began = clock()
        for event in _events(transport, source, version, left):
            if event is None:
                version = ""
                break
            version = event.object["metadata"]["resourceVersion"]
            if event.kind != "BOOKMARK":
                yield event
        if clock() - began < PAUSE:
            pause(PAUSE)


def _events(transport: Transport, source: Source, version: str, seconds: float) -> Iterator[Change | None]:
    """The events of one watch. None: its version is too old, list again."""
    query = [
        *source.selector,
        ("watch", "1"),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(max(1, round(seconds)))),
    ]
    lines = transport.lines(source.path, source.right, query, seconds + MARGIN)
    while True:
        try:
            line = next(lines, None)
        except ApiRefused as error:
            if error.status != GONE:
                raise
            yield None
            return
        if line is None:
            return
        try:
            event: Any = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return  # a line that was cut off by the end of the connection
        if event["type"] == "ERROR":
            yield None
            return
        yield Change(event["type"], event["object"])
