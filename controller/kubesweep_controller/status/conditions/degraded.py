"""What is wrong although the schedule is served: the reasons of Degraded, what waits for a person first. Pure.

Each is cleared by a success, never by a new start: a failed sweep by the next Completed one, dead letters when none is
left and none is being tried again.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubesweep.queue.model import Sweep, SweepState
from kubesweep.text import clip
from kubesweep_controller.status.conditions.dead_letters import dead_letters
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.formatting import annotate, namespaced_name, time_text
from kubesweep_controller.status.history import decided, sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["approval_message", "degradations", "ended_message", "missed_tick_message", "missed_tick_recovered"]


def degradations(observation: Observation, missed: float | None) -> list[tuple[Reason, str]]:
    """Everything that holds, as (reason, sentence)."""
    sweeps = sweeps_of(observation)
    found = (
        _held(observation, sweeps),
        _last_sweep(observation, sweeps),
        _missed(observation, sweeps, missed),
        dead_letters(observation),
        _evicts(observation),
    )
    return [each for each in found if each is not None]


def _evicts(observation: Observation) -> tuple[Reason, str] | None:
    if not observation.eviction_policy:
        return None
    return Reason.QUEUE_EVICTS, (
        f"The queue's server evicts keys where its memory is short (maxmemory-policy {observation.eviction_policy}): jobs and dead letters can be "
        "lost in silence. Set it to noeviction."
    )


def _last_sweep(observation: Observation, sweeps: tuple[Sweep, ...]) -> tuple[Reason, str] | None:
    last = decided(sweeps)
    if last is None or last.state is SweepState.COMPLETED:
        return None
    reason = Reason.LOST if last.state is SweepState.LOST else Reason.LAST_SWEEP_FAILED
    return reason, ended_message(observation, last)


def ended_message(observation: Observation, sweep: Sweep) -> str:
    """How a sweep ended that did not complete, and what to do."""
    tick = time_text(int(sweep.tick))
    if sweep.state is SweepState.LOST:
        return f"The queue lost the sweep of {tick}; a new one finds what is still stale."
    ended = "was halted" if sweep.state is SweepState.HALTED else "failed"
    why = f" ({sweep.reason}: {sweep.message})" if sweep.message else f" ({sweep.reason})" if sweep.reason else ""
    again = annotate(observation.body, "trigger")
    return f"The sweep of {tick} {ended}{clip(why, 600)}. The next tick tries again; once cured, at once: {again}."


def _held(observation: Observation, sweeps: tuple[Sweep, ...]) -> tuple[Reason, str] | None:
    if not sweeps or sweeps[0].state is not SweepState.AWAITING_APPROVAL:
        return None
    return Reason.AWAITING_APPROVAL, approval_message(observation, sweeps[0])


def approval_message(observation: Observation, sweep: Sweep) -> str:
    """What waits, and what to type."""
    most = observation.plan.limits.approve_above_rows if observation.plan is not None else None
    limit = "limits.approveAbove.rows" if most is None else f"limits.approveAbove.rows ({most:,})"
    return (
        f"The sweep of {time_text(int(sweep.tick))} waits: more rows are stale than {limit}, nothing was touched. "
        f"If that is right, let it go: {annotate(observation.body, 'approve')}."
    )


def missed_tick_recovered(sweeps: Iterable[Sweep], missed: float) -> bool:
    """Whether a sweep of that tick or a later one completed."""
    return any(one.state is SweepState.COMPLETED and one.tick >= missed for one in sweeps)


def _missed(observation: Observation, sweeps: tuple[Sweep, ...], missed: float | None) -> tuple[Reason, str] | None:
    if missed is None or missed_tick_recovered(sweeps, missed):
        return None
    return Reason.MISSED_SCHEDULE, missed_tick_message(observation, missed)


def missed_tick_message(observation: Observation, missed: float) -> str:
    """Which tick, and where to look."""
    what = f"No sweep came of the tick of {time_text(int(missed))}; the next tick makes up for it"
    if observation.schedule is None or observation.schedule.spec.every is not None:
        return f"{what}."
    namespace, name = namespaced_name(observation.body)
    return f"{what}. If none comes: kubectl describe cronjob {name}-tick -n {namespace}."
