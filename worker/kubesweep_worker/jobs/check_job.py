"""A check job: validate source and effect before the first tick, and report what was found.

Nothing notifies the worker when somebody fixes a problem (creates the Secret or the table, grants the right). So the job
stays in the queue, and is repeated with growing pauses until source and effect are ready. Each run reports its findings
again, because the queue may have lost the report or received another one from a different worker. It also stays until the
queue has its findings: the queue hands out one check of a plan, so without them the schedule would never become ready.
"""

from __future__ import annotations

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Settlement
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Done, JobContext, Release, Result

KINDS = ("SourceReady", "SourceWarnings", "Effect")  # what a check reports
Problem = Outage | SweepFailure


async def run_check(context: JobContext, run: JobRun) -> Result:
    """Raises Outage of the source (the job is released) and LeaseLost."""
    effect_problem = await check_effect(context)
    problem = await check_source(context) or effect_problem or context.findings.undelivered(*KINDS)
    if problem is None:
        return Done(Settlement(claim=run.claim))
    context.pause_claiming(problem if isinstance(problem, Outage) else Outage(problem.reason, str(problem)))
    return Release(run.claim)


async def check_source(context: JobContext) -> Problem | None:
    """Report the state of the source; returns its problem."""
    try:
        table = await context.source.inspect()
    except SweepFailure as failure:
        await context.findings.report("SourceReady", False, failure.reason, str(failure), repeat=True)
        return failure
    described = f"{table.name}, key ({', '.join(table.key)})"
    await context.findings.report("SourceReady", True, "Checked", described, repeat=True)
    warnings = "; ".join(f"{code}: {sentence}" for code, sentence in table.warnings)
    reason = table.warnings[0][0] if table.warnings else "Checked"
    message = warnings or "nothing to warn about"
    await context.findings.report("SourceWarnings", not warnings, reason, message, repeat=True)
    return None


async def check_effect(context: JobContext) -> Problem | None:
    """Report whether the effect can be used; returns its problem."""
    if context.effect is None:
        return None
    try:
        await context.effect.probe()
    except (SweepFailure, Outage) as problem:
        await context.findings.report("Effect", False, problem.reason, str(problem), repeat=True)
        return problem
    await context.findings.report("Effect", True, "Loaded", "the effect can be used", repeat=True)
    return None
