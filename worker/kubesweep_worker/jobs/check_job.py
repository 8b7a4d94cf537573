"""A check job: look at source and effect before the first tick does, and say what was found.

Whoever cures a trouble (creates the Secret, the table, grants the right) tells nobody here. So the job stays in the queue,
and a worker with it, until all is well: looked at again with growing pauses. What it finds is said each time: the queue may
have lost what was said, or have heard otherwise from another worker.
"""

from __future__ import annotations

from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.model import Settlement
from kubesweep_worker.in_flight import JobRun
from kubesweep_worker.jobs.context import Desk, Done, Result, Return

Trouble = Outage | SweepFailure


async def run_check(desk: Desk, run: JobRun) -> Result:
    """Raises Outage of the source (the job is given back) and LeaseLost."""
    of_the_effect = await check_effect(desk)
    trouble = await check_source(desk) or of_the_effect
    if trouble is None:
        return Done(Settlement(claim=run.claim))
    desk.shut(trouble if isinstance(trouble, Outage) else Outage(trouble.reason, str(trouble)))
    return Return(run.claim)


async def check_source(desk: Desk) -> Trouble | None:
    """Report what the source looks like; the trouble that it is in."""
    try:
        table = await desk.source.inspect()
    except SweepFailure as failure:
        await desk.report("SourceReady", False, failure.reason, str(failure), again=True)
        return failure
    await desk.report("SourceReady", True, "Checked", f"{table.name}, key ({', '.join(table.key)})", again=True)
    warnings = "; ".join(f"{code}: {sentence}" for code, sentence in table.warnings)
    reason = table.warnings[0][0] if table.warnings else "Checked"
    await desk.report("SourceWarnings", not warnings, reason, warnings or "nothing to warn about", again=True)
    return None


async def check_effect(desk: Desk) -> Trouble | None:
    """Report whether the effect can be used; the trouble that it is in."""
    if desk.effect is None:
        return None
    try:
        await desk.effect.probe()
    except (SweepFailure, Outage) as trouble:
        await desk.report("Effect", False, trouble.reason, str(trouble), again=True)
        return trouble
    await desk.report("Effect", True, "Loaded", "the effect can be used", again=True)
    return None
