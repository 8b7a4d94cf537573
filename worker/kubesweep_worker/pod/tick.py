"""The producer: the pod of one Job wishes for one sweep and goes.

It may die at any instruction and be started again for the same Job: the wish is the same then, so it opens one sweep.
The Job of a CronJob has its nominal time, in minutes, at the end of its name; that is the tick. A Job that a person made
(``kubectl create job --from=cronjob/NAME-tick``) has none: its wish has the time of now, and the Job's uid for a name.

A tick that had passed when the schedule was created, edited or resumed is refused: the CronJob makes up for times of which
it does not know that the schedule was another one then.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Mapping

from kubesweep.api.plan import Plan
from kubesweep.errors import SpecError
from kubesweep.queue.connect import connect
from kubesweep.queue.model import OpenResult, SweepRequest
from kubesweep_worker.pod import environment as pod

log = logging.getLogger("kubesweep.pod")
MINUTES = "[1-9][0-9]{7,8}"  # since the epoch, from 1989 on: a shorter number at the end of a name is a person's
SAID = {
    OpenResult.ENQUEUED: "a sweep begins",
    OpenResult.DUPLICATE: "it was there before, or a later one was: nothing to do",
    OpenResult.FORBIDDEN: "skipped, because the sweep before it is not finished",
    OpenResult.LATE: "missed, because it is older than startingDeadlineSeconds",
}


async def tick(environment: Mapping[str, str]) -> int:
    """Make the wish; 0 whatever the queue answers. Raises Outage, and SpecError for an environment that says too little."""
    plan = pod.plan(environment)
    made = sweep_request(environment, plan)
    if made.tick is not None and (since := _since(environment)) is not None and made.tick <= since:
        log.warning(
            "tick %s of %s/%s: refused, the schedule applies since %s (created, edited or resumed then)",
            _text(made.tick), plan.namespace, plan.name, _text(since),
            extra={"answer": "refused", "job": environment.get("KUBESWEEP_JOB_NAME")},
        )  # fmt: skip
        return 0
    queue = connect(pod.given(environment, "KUBESWEEP_QUEUE"))
    try:
        opened = await queue.open_sweep(plan.ref, made)
    finally:
        await queue.close()
    said = "; ".join(part for part in (SAID[opened.answer], opened.warning) if part)
    fine = opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and not opened.warning
    log.log(
        logging.INFO if fine else logging.WARNING,
        "tick %s of %s/%s: %s", "now" if made.tick is None else _text(made.tick), plan.namespace, plan.name, said,
        extra={"answer": opened.answer.value, "sweep": opened.sweep, "job": environment.get("KUBESWEEP_JOB_NAME")},
    )  # fmt: skip
    return 0


def _text(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def sweep_request(environment: Mapping[str, str], plan: Plan) -> SweepRequest:
    """What the Job of this environment asks for. Without a nominal time (a person made the Job) it is now, by the queue's clock."""
    nominal = nominal_time(pod.given(environment, "KUBESWEEP_JOB_NAME"), f"{plan.name}-tick")
    return SweepRequest(
        tick=nominal,
        dedup_key=f"job/{pod.given(environment, 'KUBESWEEP_JOB_UID')}" if nominal is None else None,
        plan=plan.version,
        mode=plan.mode,
        deadline=None if nominal is None else _deadline(environment),
        retention=plan.retention,
    )


def nominal_time(job: str, cronjob: str) -> float | None:
    """Seconds since the epoch for a Job that the CronJob made, None for anybody else's."""
    found = re.fullmatch(f"{re.escape(cronjob)}-({MINUTES})", job)
    return int(found[1]) * 60.0 if found else None


def _since(environment: Mapping[str, str]) -> float | None:
    """Ticks up to this time had passed when the schedule was created, edited or resumed. A CronJob makes up for them."""
    text = environment.get("KUBESWEEP_TICKS_SINCE", "")
    if not text:
        return None
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise SpecError(
            pod.CODE, f"KUBESWEEP_TICKS_SINCE is {text!r}: write a time such as 2026-03-01T00:00:00Z"
        ) from None


def _deadline(environment: Mapping[str, str]) -> float | None:
    text = environment.get("KUBESWEEP_STARTING_DEADLINE", "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise SpecError(pod.CODE, f"KUBESWEEP_STARTING_DEADLINE is {text!r}: write seconds") from None
