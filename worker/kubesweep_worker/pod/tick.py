"""The pod of a CronJob's Job: it requests one sweep and ends.

Each Job opens at most one sweep, even if its pod restarts: every attempt sends the same request. A CronJob writes the
nominal time, in minutes, at the end of the Job's name; that time is the tick. A Job that a person created
(``kubectl create job --from=cronjob/NAME-tick``) has none. Its tick is now, and the Job's uid is the dedup key.

A tick that passed before the schedule was created, edited or resumed is refused. The CronJob would run it, because it
does not know that another schedule applied at that time.
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
from kubesweep.scheduling import sweep_request
from kubesweep_worker.pod import environment as pod

log = logging.getLogger("kubesweep.pod")
MINUTES = "[1-9][0-9]{7,8}"  # since the epoch, from 1989 on: a shorter number belongs to a name that a person chose
MESSAGES = {
    OpenResult.ENQUEUED: "a sweep begins",
    OpenResult.DUPLICATE: "the queue already has this tick or a later one: nothing to do",
    OpenResult.FORBIDDEN: "skipped, because the previous sweep is not finished",
    OpenResult.LATE: "missed, because it is older than startingDeadlineSeconds",
}


async def tick(environment: Mapping[str, str]) -> int:
    """Request the sweep. Returns exit code 0 whatever the queue answers.

    Raises Outage, and SpecError for an incomplete environment.
    """
    plan = pod.plan(environment)
    request = request_of(environment, plan)
    if request.tick is not None and (since := _since(environment)) is not None and request.tick <= since:
        log.warning(
            "tick %s of %s/%s: refused, the schedule applies since %s (created, edited or resumed then)",
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


def request_of(environment: Mapping[str, str], plan: Plan) -> SweepRequest:
    """The sweep that the Job of this environment asks for. A Job without a nominal time asks for now, by the queue's clock."""
    nominal = nominal_time(pod.required(environment, "KUBESWEEP_JOB_NAME"), f"{plan.name}-tick")
    if nominal is None:
        return sweep_request(plan, None, dedup_key=f"job/{pod.required(environment, 'KUBESWEEP_JOB_UID')}")
    return sweep_request(plan, nominal, deadline=_deadline(environment))


def nominal_time(job: str, cronjob: str) -> float | None:
    """Seconds since the epoch for a Job that the CronJob created, None for any other Job."""
    found = re.fullmatch(f"{re.escape(cronjob)}-({MINUTES})", job)
    return int(found[1]) * 60.0 if found else None


def _since(environment: Mapping[str, str]) -> float | None:
    """When the schedule was created, edited or resumed: ticks up to this time are refused, in seconds since the epoch."""
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
