"""``kubesweep dead``: the rows that used up their attempts, grouped by error; try them again, or forget them."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from kubesweep.errors import SpecError
from kubesweep.logging import safe_url
from kubesweep.queue.model import DeadLetter, ErrorGroup, Key, RowState, ScheduleRef, key_text, parse_key
from kubesweep.queue.service import QueueService
from kubesweep.text import escaped
from kubesweep_cli.shell.exit_codes import Exit, Nothing
from kubesweep_cli.shell.schedule_names import find, label, labels, typed_name
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting

__all__ = [
    "Choice",
    "confirmed",
    "dead_doomed",
    "dead_list",
    "dead_purge",
    "dead_retry",
    "dead_show",
    "group_table",
    "plain_key",
]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant. ``queue`` is the URL, ``option`` what the person gave as --queue, if anything."""

    queue: str
    option: str | None = None
    name: str | None = None
    namespace: str | None = None
    error: str | None = None
    keys: tuple[str, ...] = ()
    all: bool = False
    retrying: bool = False  # rows in retry instead of dead letters

    @property
    def state(self) -> RowState:
        return RowState.RETRYING if self.retrying else RowState.DEAD

    @property
    def what(self) -> str:
        return "rows in retry" if self.retrying else "dead letters"

    @property
    def parsed(self) -> tuple[Key, ...] | None:
        return tuple(parse_key(text) for text in self.keys) or None

    @property
    def filters(self) -> str:
        """The filters as they must be typed again."""
        parts = [f" --error {shlex.quote(self.error)}"] if self.error else []
        return "".join([*parts, *(f" --key {shlex.quote(key)}" for key in self.keys)])

    def command(self, verb: str, ref: ScheduleRef, filters: str = "") -> str:
        return f"{program()} dead {verb} {typed_name(ref)}{filters}{queue_option(self.option)}"

    @property
    def list_command(self) -> str:
        return f"{program()} dead list{namespace_option(self.namespace)}{queue_option(self.option)}"


def plain_key(key: Key) -> str:
    """``42`` for a single key, ``["eu","17"]`` for a composite one or one that looks like it, with escapes for what no terminal
    shows; ``--key`` takes both."""
    bare = len(key) == 1 and key[0].isprintable() and parse_key(key[0]) == key
    return key[0] if bare else escaped(key_text(key))


async def _chosen(queue: QueueService, choice: Choice) -> tuple[ScheduleRef, ...]:
    known = await queue.schedules()
    if choice.name is not None:
        return (find(known, choice.name, choice.namespace, choice.queue),)
    return tuple(ref for ref in known if choice.namespace in (None, ref.namespace))


async def dead_list(queue: QueueService, terminal: Terminal, choice: Choice) -> Exit:
    """One line for each schedule and error. Finding some is no failure of a list: exit code 0 either way."""
    found: list[tuple[ScheduleRef, tuple[ErrorGroup, ...]]] = []
    refs = await _chosen(queue, choice)
    for ref in refs:
        groups = await queue.error_groups(ref, state=choice.state)
        if choice.error:
            groups = tuple(group for group in groups if group.error == choice.error)
        if groups:
            found.append((ref, groups))
    if not found:
        about = f" of {choice.name}" if choice.name else ""
        terminal.line(f"No {choice.what}{about} in {safe_url(choice.queue)}.")
        return Exit.CLEAN
    terminal.show(group_table(found))
    for ref in refs:
        await _tell_set_aside(queue, terminal, ref)
    first = found[0][0]
    terminal.next_steps(
        [
            (
                choice.command("show", first, " --retrying" if choice.retrying else ""),
                "each row, with the history of its attempts",
            ),
            (choice.command("retry", first), "after the cure: try them again, with the same idempotency keys"),
            (choice.command("purge", first), "forget them: the next sweep picks the rows up anew"),
        ]
    )
    return Exit.CLEAN


async def _tell_set_aside(queue: QueueService, terminal: Terminal, ref: ScheduleRef) -> int:
    """Name the dead letters of another table than the one that is swept now. Returns how many there are."""
    (stats,) = await queue.stats([ref])
    groups = await queue.error_groups(ref, most=1000)
    aside: Counter[str] = Counter()
    for group in groups:
        if stats.origin and group.origin not in ("", stats.origin):
            aside[group.origin] += group.count
    for origin, count in aside.items():
        terminal.say(
            f"{label(ref)}: {formatting.rows(count)} of {origin}, set aside: {stats.origin} is swept now. They exclude no row "
            "there, can be tried again when the schedule goes back to their table, and expire by deadLetters.retention."
        )
    return sum(aside.values())


def group_table(found: Sequence[tuple[ScheduleRef, Sequence[ErrorGroup]]]) -> Table:
    """Dead letters by schedule and error, with sample keys and the latest message."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("schedule", no_wrap=True, overflow="fold")
    table.add_column("error", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("such as")
    table.add_column("latest message", ratio=1)
    names = labels([ref for ref, _ in found])
    for name, (_, groups) in zip(names, found, strict=True):
        for place, group in enumerate(groups):
            keys = ", ".join(plain_key(key) for key in group.samples)
            more = ", …" if group.count > len(group.samples) else ""
            table.add_row(
                Text(name if place == 0 else ""),
                Text(group.error, style="bad"),
                formatting.count(group.count),
                Text(keys + more),
                Text(group.message),
            )
    return table


async def dead_show(queue: QueueService, terminal: Terminal, choice: Choice, most: int = 100) -> Exit:
    """Each dead letter with its history, newest first."""
    shown = 0
    refs = await _chosen(queue, choice)
    for ref in refs:
        letters = await queue.dead_letters(ref, error=choice.error, keys=choice.parsed, most=most, state=choice.state)
        for letter in letters:
            _show_letter(terminal, label(ref), letter)
        shown += len(letters)
        if len(letters) == most:
            terminal.say(f"The newest {most} are shown; --most N shows more.")
    if not shown:
        raise Nothing(_none(choice, refs))
    return Exit.CLEAN


def _show_letter(terminal: Terminal, name: str, letter: DeadLetter) -> None:
    terminal.out.print(
        Text.assemble((name, "name"), "  key ", (plain_key(letter.key), "name"), "  ", (letter.error, "bad")),
        soft_wrap=True,
    )
    terminal.out.print(Text(f"  {letter.message}"), soft_wrap=True)
    if terminal.verbosity > 0 and (where := letter.attempts[-1].where):
        terminal.out.print(Text(f"  raised at {where}"), soft_wrap=True)
    for number, attempt in enumerate(letter.attempts, 1):
        at = formatting.clock_time(attempt.at, 0)
        terminal.out.print(
            Text(f"  attempt {number}  {at}  {attempt.error}: {attempt.message}", style="faint"), soft_wrap=True
        )


def _none(choice: Choice, refs: Sequence[ScheduleRef]) -> str:
    about = f" of {choice.name}" if choice.name else ""
    what = f" that match{choice.filters}" if choice.filters else ""
    return f"No {choice.what}{about}{what} in {safe_url(choice.queue)}.\nWhat there is:  {choice.list_command}"


async def _needed(queue: QueueService, choice: Choice, verb: str) -> tuple[ScheduleRef, ...]:
    if choice.name is None and not choice.all:
        raise SpecError(
            "NameNeeded",
            f"dead {verb} wants to know which schedule: give its NAME, or --all for every schedule of the queue.\n"
            f"What there is:  {choice.list_command}",
        )
    return await _chosen(queue, choice)


async def dead_retry(queue: QueueService, terminal: Terminal, choice: Choice) -> Exit:
    """Try dead letters and rows in retry again now. Whichever worker serves the queue does it."""
    refs = await _needed(queue, choice, "retry")
    total = 0
    for ref in refs:
        number = await queue.replay(ref, error=choice.error, keys=choice.parsed)
        if number:
            terminal.line(
                f"{label(ref)}: {formatting.rows(number)} will be tried again, with fresh attempts and the same keys."
            )
        total += number
        aside = await _tell_set_aside(queue, terminal, ref)
        if not number and aside:
            raise Nothing(
                f"{label(ref)}: none of the dead letters belongs to the table that is swept now, so none can be tried again.\n"
                f"Set source (table, key) or --url back, or forget them:  {choice.command('purge', ref)}"
            )
    if not total:
        raise Nothing(_none(choice, refs))
    option = queue_option(choice.option)
    terminal.next_steps(
        [
            (
                f"{program()} run --once -f FILE{option}",
                "does them now, unless a running `run` or `worker` has done so already",
            ),
            (choice.list_command, "what is still dead afterwards"),
        ]
    )
    return Exit.CLEAN


async def dead_doomed(queue: QueueService, choice: Choice) -> int:
    """How many rows a purge would forget. Raises Nothing where there are none."""
    refs = await _needed(queue, choice, "purge")
    total = sum([await _count(queue, ref, choice) for ref in refs])
    if not total:
        raise Nothing(_none(choice, refs))
    return total


def confirmed(terminal: Terminal, total: int, *, yes: bool) -> bool:
    """Ask, unless ``yes``. Raises SpecError where there is no terminal to ask on."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SpecError(
            "NotConfirmed",
            f"This would forget {formatting.rows(total)}, and there is no terminal to ask on.\nSay so with --yes.",
        )
    text = f"Forget {formatting.rows(total)}? The next sweep picks them up anew, effect included. [y/N] "
    terminal.err.print(Text(text), end="")
    if input().strip().lower() in ("y", "yes"):
        return True
    terminal.say("Nothing was forgotten.")
    return False


async def dead_purge(queue: QueueService, terminal: Terminal, choice: Choice) -> Exit:
    """Forget dead letters and rows in retry: they are eligible again."""
    for ref in await _needed(queue, choice, "purge"):
        number = await queue.purge(ref, error=choice.error, keys=choice.parsed)
        if number:
            terminal.line(f"{label(ref)}: {formatting.rows(number)} forgotten; they are eligible again.")
    return Exit.CLEAN


async def _count(queue: QueueService, ref: ScheduleRef, choice: Choice) -> int:
    if choice.parsed is not None:
        return len(await queue.dead_letters(ref, error=choice.error, keys=choice.parsed, most=10_000, state=None))
    groups = await queue.error_groups(ref, most=1000, state=None)
    return sum(group.count for group in groups if choice.error in (None, group.error))
