"""``kubesweep dead``: list, show, retry and purge the rows that used up their attempts."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kubesweep.errors import SpecError
from kubesweep.letter_document import letter_document
from kubesweep.logging import safe_url
from kubesweep.queue.model import ErrorGroup, Key, RowState, ScheduleRef, parse_key
from kubesweep.queue.service import QueueService
from kubesweep_cli.shell.exit_codes import Exit, NotFound
from kubesweep_cli.shell.known_files import run_again
from kubesweep_cli.shell.output import TABLE, answer, print_document, structured
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.dead_letter_document import group_document
from kubesweep_cli.views.dead_letter_table import group_table, show_letter

__all__ = ["Choice", "count_purge", "dead_list", "dead_purge", "dead_retry", "dead_show", "purge_question"]

MOST_GROUPS = 1000  # error classes of one schedule
MOST_COUNTED = 10_000  # dead letters that are read to count those of given keys
TRY_WORDS = "try them now: run its file with --once, unless a `run` or `worker` is already running"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters a command is about."""

    queue: str  # URL
    option: str | None = None  # the value of --queue
    name: str | None = None
    namespace: str | None = None
    error: str | None = None
    keys: tuple[str, ...] = ()
    all: bool = False
    retrying: bool = False  # rows in retry instead of dead letters
    output: str = TABLE

    @property
    def state(self) -> RowState:
        return RowState.RETRYING if self.retrying else RowState.DEAD

    @property
    def rows(self) -> str:
        return "rows in retry" if self.retrying else "dead letters"

    @property
    def parsed(self) -> tuple[Key, ...] | None:
        return tuple(parse_key(text) for text in self.keys) or None

    @property
    def filters(self) -> str:
        """The filters as options of a printed command."""
        parts = [f" --error {shlex.quote(self.error)}"] if self.error else []
        return "".join([*parts, *(f" --key {shlex.quote(key)}" for key in self.keys)])

    def command(self, verb: str, ref: ScheduleRef, filters: str = "") -> str:
        return f"{program()} dead {verb} {typed_name(ref, full=self.namespace is not None)}{filters}{queue_option(self.option)}"

    @property
    def list_command(self) -> str:
        return f"{program()} dead list{namespace_option(self.namespace)}{queue_option(self.option)}"


async def _chosen(queue: QueueService, choice: Choice) -> tuple[ScheduleRef, ...]:
    known = await queue.schedules()
    if choice.name is not None:
        return (find(known, choice.name, choice.namespace, choice.queue),)
    return tuple(ref for ref in known if choice.namespace in (None, ref.namespace))


async def _chosen_explicitly(queue: QueueService, choice: Choice, verb: str) -> tuple[ScheduleRef, ...]:
    if choice.name is None and not choice.all:
        raise SpecError(
            "NameNeeded",
            f"dead {verb} needs the NAME of a schedule, or --all for every schedule of the queue.\n"
            f"List them:  {choice.list_command}",
        )
    return await _chosen(queue, choice)


async def dead_list(queue: QueueService, terminal: Terminal, choice: Choice, most: int = 20) -> Exit:
    """One line for each schedule and error, at most ``most`` of each schedule. The exit code is 0 whether there are any or not."""
    found: list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]] = []
    refs = await _chosen(queue, choice)
    for ref in refs:
        groups = await queue.error_groups(ref, MOST_GROUPS if choice.error else most, state=choice.state)
        if choice.error:
            groups = tuple(group for group in groups if group.error == choice.error)
        if groups:
            found.append((ref, groups))
    if structured(choice.output):
        documents = [group_document(ref, groups, retrying=choice.retrying) for ref, groups in found]
        print_document(terminal, choice.output, documents)
        return Exit.CLEAN
    if not found:
        about = f" of {choice.name}" if choice.name else ""
        terminal.line(f"No {choice.rows}{about} in {safe_url(choice.queue)}.")
        return Exit.CLEAN
    terminal.show(group_table(found, terminal.out.width))
    if any(len(groups) == most for _, groups in found):
        terminal.say(f"Only the {most} largest groups of each schedule are shown; --limit N shows more.")
    for ref in refs:
        await _report_other_tables(queue, terminal, ref)
    first = found[0][0]
    show = choice.command("show", first, " --retrying" if choice.retrying else "")
    terminal.next_steps(
        [
            (show, "show each row with the history of its attempts"),
            (choice.command("retry", first), "after the fix: try them again, with the same idempotency keys"),
            (choice.command("purge", first), "remove them from the queue: the next sweep finds the rows again"),
        ]
    )
    return Exit.CLEAN


async def _report_other_tables(queue: QueueService, terminal: Terminal, ref: ScheduleRef) -> int:
    """Report the dead letters of other tables than the one that is swept now. Returns their number."""
    (stats,) = await queue.stats([ref])
    groups = await queue.error_groups(ref, most=MOST_GROUPS)
    others: Counter[str] = Counter()
    for group in groups:
        if stats.origin and group.origin not in ("", stats.origin):
            others[group.origin] += group.count
    for origin, count in others.items():
        terminal.say(
            f"{label(ref)}: {formatting.rows(count)} of {origin} set aside, because {stats.origin} is swept now. They "
            "exclude no row there. You can retry them when the schedule uses their table again; they expire after "
            "deadLetters.retention."
        )
    return sum(others.values())


async def _report_block(queue: QueueService, terminal: Terminal, choice: Choice, ref: ScheduleRef) -> None:
    (stats,) = await queue.stats([ref])
    if stats.retries_blocked:
        name = typed_name(ref, full=choice.namespace is not None)
        terminal.say(
            f"{label(ref)}: no worker tries them before the sweep that awaits approval is approved:  "
            f"{program()} approve {name}{queue_option(choice.option)}"
        )


async def dead_show(queue: QueueService, terminal: Terminal, choice: Choice, most: int = 100) -> Exit:
    """Each dead letter with the history of its attempts, newest first."""
    found = [
        (ref, letter)
        for ref in await _chosen(queue, choice)
        for letter in await queue.dead_letters(
            ref, error=choice.error, keys=choice.parsed, most=most, state=choice.state
        )
    ]
    if structured(choice.output):
        documents = [
            {"namespace": ref.namespace, "name": ref.name, **letter_document(letter, retrying=choice.retrying)}
            for ref, letter in found
        ]
        print_document(terminal, choice.output, documents)
        return Exit.CLEAN if found else Exit.FAILURE
    if not found:
        raise _not_found(choice)
    for ref, letter in found:
        show_letter(terminal, label(ref), letter)
    if max(Counter(ref for ref, _ in found).values()) == most:
        terminal.say(f"Only the newest {most} of each schedule are shown; --limit N shows more.")
    return Exit.CLEAN


def _not_found(choice: Choice) -> NotFound:
    about = f" of {choice.name}" if choice.name else ""
    filters = f" that match{choice.filters}" if choice.filters else ""
    return NotFound(
        f"No {choice.rows}{about}{filters} in {safe_url(choice.queue)}.\nList what there is:  {choice.list_command}"
    )


async def dead_retry(queue: QueueService, terminal: Terminal, choice: Choice) -> Exit:
    """Make dead letters and rows in retry due now. Any worker of the queue takes them."""
    refs, retried = await _chosen_explicitly(queue, choice, "retry"), []
    aside: list[ScheduleRef] = []  # all of whose dead letters are of another table
    for ref in refs:
        number = await queue.replay(ref, error=choice.error, keys=choice.parsed)
        if number:
            retried.append((ref, number))
        others = 0 if structured(choice.output) else await _report_other_tables(queue, terminal, ref)
        if not number and others:
            aside.append(ref)
    if aside and not retried:
        raise NotFound(
            f"{label(aside[0])}: none of the dead letters belongs to the table that is swept now, so none can be tried again.\n"
            f"Set source (table, key) or --url back, or purge them:  {choice.command('purge', aside[0])}"
        )
    sentence = "{} will be tried again, with fresh attempts and the same keys"
    if not _report(terminal, choice, refs, retried, "RetryDeadLetters", "DeadLettersRetried", sentence):
        return Exit.FAILURE
    if not structured(choice.output):
        run, _ = run_again(choice.queue, [ref for ref, _ in retried], choice.option)
        for ref, _ in retried:
            await _report_block(queue, terminal, choice, ref)
        words = "try them now, unless a `run` or `worker` is already running" if run else TRY_WORDS
        terminal.next_steps([(run, words), (choice.list_command, "list what is still dead afterwards")])
    return Exit.CLEAN


def _report(
    terminal: Terminal,
    choice: Choice,
    refs: Sequence[ScheduleRef],
    done: Sequence[tuple[ScheduleRef, int]],
    command: str,
    reason: str,
    sentence: str,
) -> bool:
    """Print what was done to how many rows. False where nothing was, which a table reports as NotFound."""
    numbers = dict(done)
    if structured(choice.output):
        print_document(terminal, choice.output, [
            answer(ref.namespace, ref.name, command, reason, sentence.format(formatting.rows(rows)), rows=rows)
            for ref in refs
            for rows in (numbers.get(ref, 0),)
        ])  # fmt: skip
        return bool(numbers)
    if not numbers:
        raise _not_found(choice)
    for ref, number in done:
        terminal.line(f"{label(ref)}: {sentence.format(formatting.rows(number))}.")
    return True


async def count_purge(queue: QueueService, choice: Choice) -> int:
    """How many rows a purge would remove. Raises NotFound if there are none."""
    total = sum([await _count(queue, ref, choice) for ref in await _chosen_explicitly(queue, choice, "purge")])
    if not total:
        raise _not_found(choice)
    return total


def purge_question(choice: Choice, total: int) -> str:
    every = "every schedule" + (f" of the namespace {choice.namespace}" if choice.namespace else "")
    about = f" of {choice.name or every}"
    return f"Purge {formatting.rows(total)}{about} from the queue, so that the next sweep finds them again and repeats their effect?"


async def dead_purge(queue: QueueService, terminal: Terminal, choice: Choice) -> Exit:
    """Remove dead letters and rows in retry from the queue: the next sweep finds the rows again."""
    refs, purged = await _chosen_explicitly(queue, choice, "purge"), []
    for ref in refs:
        number = await queue.purge(ref, error=choice.error, keys=choice.parsed)
        if number:
            purged.append((ref, number))
    sentence = "{} purged from the queue; the next sweep finds them again"
    found = _report(terminal, choice, refs, purged, "PurgeDeadLetters", "DeadLettersPurged", sentence)
    return Exit.CLEAN if found else Exit.FAILURE


async def _count(queue: QueueService, ref: ScheduleRef, choice: Choice) -> int:
    if choice.parsed is not None:
        letters = await queue.dead_letters(ref, error=choice.error, keys=choice.parsed, most=MOST_COUNTED, state=None)
        return len(letters)
    groups = await queue.error_groups(ref, most=MOST_GROUPS, state=None)
    return sum(group.count for group in groups if choice.error in (None, group.error))
