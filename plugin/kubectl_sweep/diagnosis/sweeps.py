"""Causes in the sweeps themselves: they wait for approval, are slowed down, halted, failed, or are doing well. Pure."""

from __future__ import annotations

from kubectl_sweep.diagnosis.causes import Cause, Diagnosis
from kubectl_sweep.diagnosis.facts import LONGEST, Facts
from kubesweep.quantities import are_dead_letters, count, percent, rows
from kubesweep.queue.model import ACTIVE_SESSIONS, SweepState, last_decided
from kubesweep.text import as_sentence, clip
from kubesweep.timestamps import parse_time
from kubesweep_console.documents import items, mapping, number, text

__all__ = [
    "awaiting_approval", "dead_letters", "degraded", "dry_run", "falling_behind", "halted_or_failed", "lost", "never_swept", "paused",
    "queue_evicts", "rows_retrying", "running", "throttled", "well",
]  # fmt: skip

ANNOTATION = "Annotation"


def awaiting_approval(facts: Facts) -> Diagnosis | None:
    last = facts.schedule.last
    if last is None or last.state is not SweepState.AWAITING_APPROVAL:
        return None
    proposal = mapping(mapping(facts.schedule.status.get("lastSweep")).get("proposal"))
    found = number(proposal.get("rows")) or facts.schedule.backlog.rows or 0
    many = f": {rows(found)} would be swept" if found else ""
    sentence = (
        f"The sweep of {facts.name} awaits approval ({last.reason or 'no reason given'}){many}. No further tick runs."
    )
    evidence = (clip(last.message, LONGEST),) if last.message else ()
    return Diagnosis(
        Cause.AWAITING_APPROVAL, sentence, facts.command("approve"), "To see the rows and approve it", evidence
    )


def paused(facts: Facts) -> Diagnosis | None:
    throttle = facts.schedule.throttle
    if throttle is None or throttle.reason != ANNOTATION or throttle.value != "pause":
        return None
    since = parse_time(mapping(facts.schedule.status.get("throttle")).get("since"))
    sentence = (
        f"{facts.name} is paused since {facts.when(since)} by its annotation kubesweep.dev/throttle: no row is started."
    )
    return Diagnosis(Cause.PAUSED, sentence, facts.command("throttle", "reset"), "To let it go on", (throttle.message,))


def throttled(facts: Facts) -> Diagnosis | None:
    """Not by the sessions of an application: that is no problem, and must hide none."""
    throttle = facts.schedule.throttle
    if throttle is None or throttle.value == "off" or throttle.reason == ACTIVE_SESSIONS:
        return None
    if throttle.reason == ANNOTATION:
        if facts.schedule.last is None or facts.schedule.last.state.settled:
            return None
        sentence = (
            f"{facts.name} is throttled to {throttle.value} rows per second by its annotation kubesweep.dev/throttle."
        )
        return Diagnosis(
            Cause.THROTTLED, sentence, facts.command("throttle", "reset"), "To remove the limit", (throttle.message,)
        )
    speed = "paused" if throttle.percent == 0 else f"slowed to {throttle.percent} % of its speed"
    sentence = (
        f"{facts.name} is {speed} by the signal {throttle.reason} of source.health: {as_sentence(throttle.message)}"
    )
    command = facts.command("throttle", "off")
    return Diagnosis(Cause.THROTTLED, sentence, command, "To sweep in spite of it", ())


def halted_or_failed(facts: Facts) -> Diagnosis | None:
    if facts.reason("Degraded", "True") != "LastSweepFailed":
        return None
    sweep = last_decided(facts.schedule.sweeps)
    if sweep is None:
        return degraded(facts)
    tick, why = facts.when(sweep.tick), clip(sweep.message or sweep.reason, LONGEST)
    if sweep.state is SweepState.HALTED:
        sentence = f"The sweep of {facts.name} of {tick} was halted, because too many rows failed{_groups(facts)}: {as_sentence(why)}"
        return Diagnosis(
            Cause.HALTED, sentence, facts.command("dead list"), "To see which rows, and why", facts.evidence("Degraded")
        )
    sentence = f"The sweep of {facts.name} of {tick} failed ({sweep.reason}): {as_sentence(why)}"
    return Diagnosis(
        Cause.FAILED,
        sentence,
        facts.command("trigger", "--wait"),
        "After a fix, to run it now",
        facts.evidence("Degraded"),
    )


def _groups(facts: Facts) -> str:
    found = [mapping(each) for each in items(facts.schedule.status.get("errors"))]
    shown = ", ".join(f"{count(number(each.get('count')))} {text(each.get('error'))}" for each in found[:3])
    return f" ({shown})" if shown else ""


def lost(facts: Facts) -> Diagnosis | None:
    if facts.reason("Degraded", "True") != "Lost":
        return None
    sentence = f"The queue lost a sweep of {facts.name}. Another one was started at once, and no row is lost."
    return Diagnosis(Cause.LOST, sentence, facts.command("status"), "To see its progress", facts.evidence("Degraded"))


def rows_retrying(facts: Facts) -> Diagnosis | None:
    """Rows failed and are tried again later: the receiver, the handler or the database refuses them."""
    last, delayed = facts.schedule.last, number(facts.queue.get("delayed"))
    waiting = max(0 if last is None else last.retrying, delayed)
    if not waiting:
        return None
    sentence = f"{rows(waiting)} of {facts.name} failed and wait for another attempt."
    return Diagnosis(
        Cause.ROWS_RETRYING, sentence, facts.command("logs"), "To see the errors", facts.evidence("Degraded")
    )


def falling_behind(facts: Facts) -> Diagnosis | None:
    if facts.reason("KeepingUp", "False") != "FallingBehind":
        return None
    limited = facts.conditions_of(facts.hpa).get("ScalingLimited", {})
    evidence = facts.evidence("KeepingUp")
    if limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas":
        evidence = (*evidence, "The autoscaler is at worker.maxReplicas.")
    sentence = (
        f"Rows of {facts.name} become stale faster than they are swept: {as_sentence(facts.message('KeepingUp'))}"
    )
    return Diagnosis(Cause.FALLING_BEHIND, sentence, facts.edit, "To raise worker.maxReplicas or a limit", evidence)


def dead_letters(facts: Facts) -> Diagnosis | None:
    if facts.reason("Degraded", "True") != "DeadLetters":
        return None
    dead = facts.schedule.dead
    what = f"{are_dead_letters(dead)}{_groups(facts)}" if dead else "dead letters are being retried"
    sentence = f"{facts.name} sweeps, but {what}."
    return Diagnosis(
        Cause.DEAD_LETTERS,
        sentence,
        facts.command("dead list"),
        "To see which rows, and why",
        facts.evidence("Degraded"),
    )


def queue_evicts(facts: Facts) -> Diagnosis | None:
    if facts.reason("Degraded", "True") != "QueueEvicts":
        return None
    sentence = f"The queue of {facts.name} may drop jobs and dead letters: {as_sentence(facts.message('Degraded'))}"
    command = "redis-cli CONFIG SET maxmemory-policy noeviction"
    return Diagnosis(Cause.QUEUE_EVICTS, sentence, command, "On the queue's server", facts.evidence("Degraded"))


def degraded(facts: Facts) -> Diagnosis | None:
    """A reason of a later version."""
    reason = facts.reason("Degraded", "True")
    if not reason:
        return None
    sentence = f"{facts.name} is degraded ({reason}): {as_sentence(facts.message('Degraded'))}"
    return Diagnosis(Cause.DEGRADED, sentence, facts.command("status"), "To see more", facts.evidence("Degraded"))


def running(facts: Facts) -> Diagnosis | None:
    last = facts.schedule.last
    if last is None or last.state.settled:
        return None
    done, expected = last.settled_rows, max(facts.schedule.expected, last.planned)
    progress = f", {count(done)} of {rows(expected)} are done ({percent(done, expected)})" if expected else ""
    sentence = f"{facts.name} is sweeping since {facts.when(last.started)}{progress}."
    throttle = facts.schedule.throttle
    slow = (throttle.message,) if throttle is not None and throttle.reason == ACTIVE_SESSIONS else ()
    return Diagnosis(Cause.RUNNING, sentence, facts.command("status"), "To see its progress", slow)


def dry_run(facts: Facts) -> Diagnosis | None:
    if facts.schedule.spec.get("mode") != "DryRun":
        return None
    last = facts.schedule.last
    found = f" Its latest sweep found {rows(last.planned)}." if last is not None else ""
    sentence = f"{facts.name} is a dry run: it counts rows and changes none.{found}"
    patch = '\'{"spec":{"mode":"Enforce"}}\''
    command = f"kubectl patch sweepschedule {facts.schedule.name} {facts.here} --type merge -p {patch}"
    return Diagnosis(Cause.DRY_RUN, sentence, command, "To let it change rows")


def never_swept(facts: Facts) -> Diagnosis | None:
    if facts.schedule.last is not None:
        return None
    sentence = f"{facts.name} was never swept. {_next(facts)}"
    return Diagnosis(Cause.NEVER_SWEPT, sentence, facts.command("trigger", "--wait"), "To run a sweep now")


def well(facts: Facts) -> Diagnosis:
    last = facts.schedule.last
    if last is None:
        raise ValueError("never_swept comes before")
    ended = facts.when(last.finished if last.finished is not None else last.started)
    if not last.planned:
        sentence = f"{facts.name} has nothing to do: its latest sweep found no stale row, {ended}. {_next(facts)}"
        return Diagnosis(Cause.NOTHING_STALE, sentence, facts.command("status"), "To see more")
    sentence = f"{facts.name} works: its latest sweep is {last.state}, {ended}, {count(last.applied)} of {rows(last.planned)} were applied. {_next(facts)}"
    return Diagnosis(Cause.WELL, sentence, facts.command("status"), "To see more")


def _next(facts: Facts) -> str:
    ticks = facts.schedule.ticks
    tick = None if ticks is None else ticks.next(facts.now)
    return "No tick is due." if tick is None else f"The next tick is at {facts.when(tick)}."
