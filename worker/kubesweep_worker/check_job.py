"""A check job: look at source and effect before the first tick does, and say what was found."""

from __future__ import annotations

from kubesweep.errors import SweepFailure
from kubesweep.queue.model import Settlement
from kubesweep_worker.desk import Desk, Done, Result
from kubesweep_worker.hands import JobRun


async def run_check(desk: Desk, run: JobRun) -> Result:
    """Raises Outage (the job is given back) and LeaseLost; what only an edit cures is the finding."""
    await check_effect(desk)
    try:
        table = await desk.source.inspect()
    except SweepFailure as failure:
        await desk.report("SourceReady", False, failure.reason, str(failure))
    else:
        await desk.report("SourceReady", True, "Checked", f"{table.name}, key ({', '.join(table.key)})")
        warnings = "; ".join(f"{code}: {sentence}" for code, sentence in table.warnings)
        reason = table.warnings[0][0] if table.warnings else "Checked"
        await desk.report("SourceWarnings", not warnings, reason, warnings or "nothing to warn about")
    return Done(Settlement(claim=run.claim))


async def check_effect(desk: Desk) -> None:
    if desk.effect is None:
        return
    try:
        desk.effect.check()
    except SweepFailure as failure:
        await desk.report("Effect", False, failure.reason, str(failure))
    else:
        await desk.report("Effect", True, "Loaded", "the effect can be used")
