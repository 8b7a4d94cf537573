"""Whether this worker was cut off from the queue, and what it owes the others then."""

from __future__ import annotations

import msgspec

from kubesweep.queue.model import Limits
from kubesweep_worker.settings import WorkerSettings


class Contact:
    """While the queue is away every lease runs out. Who comes back first must not take the jobs of workers that were cut off
    with it and are still at them: their effects would be repeated. It leaves them the time of a heartbeat to extend their leases.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._refused = False
        self._heard = settings.monotonic()
        self.spare_until = 0.0  # monotonic

    def lost(self) -> None:
        """The queue did not answer."""
        self._refused = True

    def answered(self) -> None:
        """The queue answered."""
        if self._cut_off():
            self.spare_until = self._settings.monotonic() + self._settings.heartbeat
        self._refused, self._heard = False, self._settings.monotonic()

    def limits(self, limits: Limits) -> Limits:
        """Those of the next claim."""
        spare = self._cut_off() or self._settings.monotonic() < self.spare_until
        return msgspec.structs.replace(limits, spare_expired=True) if spare else limits

    def _cut_off(self) -> bool:
        """For so long that a lease can have run out. A process that stood still heard nothing for longer than an idle one does."""
        settings = self._settings
        patience = settings.lease if self._refused else settings.lease + settings.idle_wait
        return settings.monotonic() - self._heard > patience - settings.heartbeat
