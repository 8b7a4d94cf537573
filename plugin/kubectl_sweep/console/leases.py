"""Whether the controllers whose status the console shows are still there: a status stays as it is when its controller ends.

This is known only to users who may read the Lease of the release; the console says nothing to others. A controller renews its Lease every
two seconds. The clock of this machine may differ from the cluster's, so a Lease is old if it did not change for ``UNCHANGED`` seconds of
this clock, or if it seems to be older than clocks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kubesweep.errors import KubesweepError, Outage
from kubesweep.timestamps import parse_time, time_text

__all__ = ["Leases", "Silence"]

UNCHANGED = 30.0  # seconds
OLD = 600.0  # seconds
Body = Mapping[str, Any]
Read = Callable[[str, str], Body | None]


class Silence(NamedTuple):
    """A controller renewed its Lease at ``since`` for the last time. ``sentence`` says so."""

    since: float  # seconds since the epoch, by the cluster's clock
    sentence: str


class Leases:
    """``read`` gets a Lease by namespace and name, and blocks. None: there is none."""

    def __init__(self, read: Read, clock: Callable[[], float]) -> None:
        self._read, self._clock = read, clock
        self._unknown: set[str] = set()  # releases whose Lease may not be read
        self._seen: dict[str, tuple[float, float]] = {}  # when each was renewed, and when that was read first

    def silence(self, schedules: Iterable[Body]) -> Silence | None:
        """Of the release whose controller has been silent for longest; None where all work, as far as that is known."""
        releases = {str((each.get("status") or {}).get("servedBy") or "") for each in schedules} - {""}
        found = [each for release in sorted(releases - self._unknown) if (each := self._of(release)) is not None]
        return min(found, default=None)

    def _of(self, release: str) -> Silence | None:
        namespace, _, name = release.partition("/")
        try:
            lease = self._read(namespace, name)
        except Outage:
            return None
        except KubesweepError:  # a right is missing
            self._unknown.add(release)
            return None
        renewed, now = parse_time(((lease or {}).get("spec") or {}).get("renewTime")), self._clock()
        if renewed is None:
            return None
        if release not in self._seen or self._seen[release][0] != renewed:
            self._seen[release] = renewed, now
        if now - self._seen[release][1] < UNCHANGED and now - renewed < OLD:
            return None
        when = time_text(int(renewed))
        return Silence(
            renewed, f"The controller {release} has not renewed its Lease since {when}, so it reports nothing."
        )
