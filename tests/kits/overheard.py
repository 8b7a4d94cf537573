"""A queue that remembers what was reported to it."""

from __future__ import annotations

from kubesweep.queue.model import Finding, ScheduleRef
from kubesweep.queue.sqlite.queue import SqliteQueue


class Overheard(SqliteQueue):
    """A queue that records kind, ok and reason of each reported finding."""

    said: list[tuple[str, bool, str]]

    async def report(self, ref: ScheduleRef, finding: Finding) -> None:
        self.said.append((finding.kind, finding.ok, finding.reason))
        await super().report(ref, finding)
