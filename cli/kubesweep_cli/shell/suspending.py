"""``kubesweep suspend``: a schedule without a controller is suspended in its queue, so that every process sees it.

A finding of kind ``Suspension`` records it, as the clock's activation is recorded. The queue is paused too, so that no worker starts
a row, whatever its version. A queue that loses its data loses the suspension: ``spec.suspend`` in the file outlasts it.
"""

from __future__ import annotations

from kubesweep.errors import SpecError
from kubesweep.queue.model import LOCAL, Finding, PlanVersion, ScheduleRef, Stats
from kubesweep.queue.service import QueueService
from kubesweep_cli.shell.schedule_names import label

__all__ = ["changed_at", "refuse_served", "set_suspended", "suspended"]

KIND = "Suspension"  # of the finding
SUSPENDED, ACTIVE = "Suspended", "Active"  # its reasons, as those of the condition
UNKNOWN = PlanVersion(0, "")  # a suspension concerns every plan


def suspended(stats: Stats) -> bool:
    """Whether somebody suspended the schedule in the queue. ``spec.suspend`` is in the file alone."""
    found = _found(stats)
    return found is not None and found.reason == SUSPENDED


def changed_at(stats: Stats) -> float:
    """When it was suspended or resumed last, 0 for never: ticks before that never run."""
    found = _found(stats)
    return 0.0 if found is None else found.at


def _found(stats: Stats) -> Finding | None:
    return next((each for each in stats.findings if each.kind == KIND), None)


async def set_suspended(queue: QueueService, ref: ScheduleRef, value: bool) -> bool:
    """Suspend or resume. Returns False where it was so already. Raises SpecError for a schedule of a cluster."""
    refuse_served(ref, value)
    (stats,) = await queue.stats([ref])
    changed = suspended(stats) is not value
    if changed:
        await queue.report(ref, Finding(KIND, True, SUSPENDED if value else ACTIVE, "", UNKNOWN))
    # In any case: another process may have ended between the two calls. A throttle of 0 keeps its pause.
    throttled = stats.pace is not None and stats.pace.paused
    await queue.pause(ref, value or throttled)
    return changed


def refuse_served(ref: ScheduleRef, value: bool) -> None:
    """Raise SpecError for a schedule of a cluster, whose controller reads ``spec.suspend``."""
    if ref.install != LOCAL:
        patch = f'{{"spec":{{"suspend":{str(value).lower()}}}}}'
        raise SpecError(
            "ServedByController",
            f"{label(ref)} belongs to a controller, which follows spec.suspend. Set it there:\n"
            f"kubectl patch sweepschedule {ref.name} -n {ref.namespace} --type merge -p '{patch}'",
        )
