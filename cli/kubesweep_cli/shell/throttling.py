"""Change the rate of a schedule in the queue, where its workers follow it."""

from __future__ import annotations

from kubesweep.errors import SpecError
from kubesweep.queue.model import LOCAL, Pace, ScheduleRef
from kubesweep.queue.service import QueueService
from kubesweep_cli.shell.schedule_names import label
from kubesweep_cli.shell.suspending import suspended

__all__ = ["RESET", "refuse_served", "set_throttle"]

RESET = "reset"


def refuse_served(ref: ScheduleRef, rate: str) -> None:
    """Raise SpecError for a schedule of a cluster, whose controller would set its rate back."""
    if ref.install != LOCAL:
        key = "kubesweep.dev/throttle" + ("-" if rate == RESET else f"={rate} --overwrite")
        raise SpecError(
            "ServedByController",
            f"{label(ref)} belongs to a controller, which would set the rate back. Use its annotation:\n"
            f"kubectl annotate sweepschedule {ref.name} -n {ref.namespace} {key}",
        )


async def set_throttle(queue: QueueService, ref: ScheduleRef, rate: str) -> Pace:
    """``rate``: rows per second, pause, off or reset. Raises SpecError for a schedule of a cluster."""
    refuse_served(ref, rate)
    throttle = "" if rate == RESET else rate
    (stats,) = await queue.stats([ref])
    declared = stats.pace or Pace()
    pace = Pace.of(declared.rows_per_second, throttle, declared.batch_time, declared.health)
    await queue.set_pace(ref, pace)
    await queue.pause(ref, pace.paused or suspended(stats))
    return pace
