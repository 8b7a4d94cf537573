"""Whether this worker was cut off from the queue, and which expired jobs it may claim when it reconnects."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import Limits
from kubesweep_worker.settings import WorkerSettings


class QueueConnectivity:
    """While the queue is unavailable, every lease expires. The first worker that reconnects must not claim jobs of workers
    that still run them, because their effects would be repeated. For the time of a heartbeat it claims no expired jobs of
    others, so that their owners can extend the leases."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._failed = False
        self._last_answer = settings.monotonic()
        self.own_expired_only_until = 0.0  # monotonic

    def lost(self) -> None:
        """The queue did not answer."""
        self._failed = True

    def answered(self) -> None:
        """The queue answered."""
        if self._cut_off():
            self.own_expired_only_until = self._settings.monotonic() + self._settings.heartbeat
        self._failed, self._last_answer = False, self._settings.monotonic()

    def limits(self, limits: Limits) -> Limits:
        """The limits of the next claim."""
        own_only = self._cut_off() or self._settings.monotonic() < self.own_expired_only_until
        return msgspec.structs.replace(limits, own_expired_only=True) if own_only else limits

    def _cut_off(self) -> bool:
        """For long enough that a lease can have expired. A process that was suspended got no answer for longer than an idle one."""
        settings = self._settings
        longest = settings.lease if self._failed else settings.lease + settings.idle_wait
        return settings.monotonic() - self._last_answer > longest - settings.heartbeat
