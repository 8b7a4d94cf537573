"""The code of the CronJob's pod: request one sweep, then exit.

Each Job opens at most one sweep, even if its pod restarts, because the request is the same each time. The name of a
CronJob's Job ends with its nominal time in minutes, which is the tick. A Job that a person created
(``kubectl create job --from=cronjob/NAME-tick``) has no nominal time: its request takes the queue's current time, and the
Job's uid as dedup key.

A tick from before the schedule was created, edited or resumed is refused: the CronJob runs missed times, and does not
consider that the schedule was different then.
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
MINUTES = "[1-9][0-9]{7,8}"  # minutes since the epoch, from 1989 on: a shorter number at the end of a name was chosen by a person
MESSAGES = {
    OpenResult.ENQUEUED: "a sweep begins",
    OpenResult.DUPLICATE: "this sweep or a later one exists already: nothing to do",
    OpenResult.FORBIDDEN: "skipped, because the previous sweep is not finished",
    OpenResult.LATE: "missed, because it is older than startingDeadlineSeconds",
}


async def tick(environment: Mapping[str, str]) -> int:
    """Request a sweep; returns 0 whatever the queue answers. Raises Outage, and SpecError for an incomplete environment."""
    plan = pod.plan(environment)
    request = sweep_request(environment, plan)
    if request.tick is not None and (since := _since(environment)) is not None and request.tick <= since:
        log.warning(
            "tick %s of %s/%s: refused, the schedule was created, edited or resumed at %s",
            _text(request.tick), plan.namespace, plan.name, _text(since),
            extra={"answer": "refused", "job": environment.get("KUBESWEEP_JOB_NAME")},
        )  # fmt: skip
        return 0
    queue = connect(pod.required(environment, "KUBESWEEP_QUEUE"))
    try:
        opened = await queue.open_sweep(plan.ref, request)
    finally:
        await queue.close()
    message = "; ".join(part for part in (MESSAGES[opened.answer], opened.warning) if part)
    fine = opened.answer in (OpenResult.ENQUEUED, OpenResult.DUPLICATE) and not opened.warning
    log.log(
        logging.INFO if fine else logging.WARNING,
        "tick %s of %s/%s: %s", "now" if request.tick is None else _text(request.tick), plan.namespace, plan.name, message,
        extra={"answer": opened.answer.value, "sweep": opened.sweep, "job": environment.get("KUBESWEEP_JOB_NAME")},
    )  # fmt: skip
    return 0


def _text(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def sweep_request(environment: Mapping[str, str], plan: Plan) -> SweepRequest:
    """The request of this environment's Job. Without a nominal time (a person created the Job) it takes the queue's current time."""
    nominal = nominal_time(pod.required(environment, "KUBESWEEP_JOB_NAME"), f"{plan.name}-tick")
    return SweepRequest(
        tick=nominal,
        dedup_key=f"job/{pod.required(environment, 'KUBESWEEP_JOB_UID')}" if nominal is None else None,
        plan=plan.version,
        mode=plan.mode,
        deadline=None if nominal is None else _deadline(environment),
        retention=plan.retention,
    )


def nominal_time(job: str, cronjob: str) -> float | None:
    """The tick of a Job that the CronJob created, in seconds since the epoch; None for any other Job."""
    found = re.fullmatch(f"{re.escape(cronjob)}-({MINUTES})", job)
    return int(found[1]) * 60.0 if found else None


def _since(environment: Mapping[str, str]) -> float | None:
    """When the schedule was created, edited or resumed, in seconds since the epoch; None where it is not set."""
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
