"""The condition Degraded: what needs attention although the schedule is served. Pure.

What needs a decision of a person comes first. A success clears each problem, a new attempt does not: a failed sweep is cleared by
the next Completed one, dead letters when none is left and none is being retried.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubesweep.queue.model import Sweep, SweepState, last_decided
from kubesweep.text import clip
from kubesweep_controller.status.conditions.dead_letters import dead_letters
from kubesweep_controller.status.conditions.reasons import Reason
from kubesweep_controller.status.conditions.result import ConditionProblem
from kubesweep_controller.status.formatting import annotate, namespaced_name, time_text
from kubesweep_controller.status.history import sweeps_of
from kubesweep_controller.status.observation import Observation

__all__ = ["approval_message", "degradations", "ended_message", "missed_tick_message", "missed_tick_recovered"]


def degradations(observation: Observation, missed: float | None) -> list[ConditionProblem]:
    """Every problem that holds now, the most pressing first."""
    sweeps = sweeps_of(observation)
    found = (
        _awaiting_approval(observation, sweeps),
        _last_sweep(observation, sweeps),
        _missed_tick(observation, sweeps, missed),
        dead_letters(observation),
        _evicts(observation),
    )
    return [each for each in found if each is not None]


def _evicts(observation: Observation) -> ConditionProblem | None:
    policy = observation.eviction_policy
    if not policy:
        return None
    return ConditionProblem(
        Reason.QUEUE_EVICTS,
        f"The queue's server evicts keys when it runs out of memory (maxmemory-policy {policy}), so jobs and dead letters can be "
        "lost without notice. Set it to noeviction.",
    )


def _last_sweep(observation: Observation, sweeps: tuple[Sweep, ...]) -> ConditionProblem | None:
    last = last_decided(sweeps)
    if last is None or last.state is SweepState.COMPLETED:
        return None
    reason = Reason.LOST if last.state is SweepState.LOST else Reason.LAST_SWEEP_FAILED
    return ConditionProblem(reason, ended_message(observation, last))


def ended_message(observation: Observation, sweep: Sweep) -> str:
    """How a sweep ended that did not complete, and what to do."""
    tick = time_text(int(sweep.tick))
    if sweep.state is SweepState.LOST:
        return f"The queue lost the sweep of {tick}; a new one finds the rows that are still stale."
    ended = "was halted" if sweep.state is SweepState.HALTED else "failed"
    again = annotate(observation.body, "trigger")
    return f"The sweep of {tick} {ended}{_why(sweep)}. The next tick tries again. After a fix, to run it now: {again}."


def _why(sweep: Sweep) -> str:
    """The reason and the worker's message, in parentheses."""
    why = f" ({sweep.reason}: {sweep.message})" if sweep.message else f" ({sweep.reason})" if sweep.reason else ""
    return clip(why, 600)


def _awaiting_approval(observation: Observation, sweeps: tuple[Sweep, ...]) -> ConditionProblem | None:
    if not sweeps or sweeps[0].state is not SweepState.AWAITING_APPROVAL:
        return None
    return ConditionProblem(Reason.AWAITING_APPROVAL, approval_message(observation, sweeps[0]))


def approval_message(observation: Observation, sweep: Sweep) -> str:
    """Which sweep awaits approval, why, and the command that approves it.

    While the queue is down, ``sweep`` comes from the status, whose message already says all of it.
    """
    if observation.stats is None and sweep.message:
        return sweep.message
    approve = f"To approve it: {annotate(observation.body, 'approve')}."
    return f"The sweep of {time_text(int(sweep.tick))} awaits approval{_why(sweep)}. {approve}"


def missed_tick_recovered(sweeps: Iterable[Sweep], missed: float) -> bool:
    """Whether a sweep of that tick or a later one completed."""
    return any(one.state is SweepState.COMPLETED and one.tick >= missed for one in sweeps)


def _missed_tick(observation: Observation, sweeps: tuple[Sweep, ...], missed: float | None) -> ConditionProblem | None:
    if missed is None or missed_tick_recovered(sweeps, missed):
        return None
    return ConditionProblem(Reason.MISSED_SCHEDULE, missed_tick_message(observation, missed))


def missed_tick_message(observation: Observation, missed: float) -> str:
    """Which tick was missed, and where to look."""
    what = f"The tick of {time_text(int(missed))} started no sweep. The next tick covers its rows"
    if observation.schedule is None or observation.schedule.spec.every is not None:
        return f"{what}."
    namespace, name = namespaced_name(observation.body)
    return f"{what}. If that one is missed too: kubectl describe cronjob {name}-tick -n {namespace}."
