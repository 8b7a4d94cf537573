"""``kubesweep check``: inspect schedules before the first sweep. It changes nothing; ``--try-write`` rolls its write back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from kubesweep.api.loading.files import Loaded, load
from kubesweep.errors import KubesweepError, Outage, RowError, SweepFailure
from kubesweep_cli.runner.worker_group import folder_of
from kubesweep_cli.shell.exit_codes import Exit, Unreachable, code_of_error
from kubesweep_cli.shell.state_paths import program, url_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.check_report import COUNT_MOST, Inspection, show, warnings
from kubesweep_worker.effects import open_effect
from kubesweep_worker.sources.base import InspectableSource, Predicate, Range
from kubesweep_worker.sources.paging import timed_out
from kubesweep_worker.sources.reconnecting import ReconnectingSource

__all__ = ["inspect", "run_check"]

SAMPLES = 5
TRY_ROWS = 10


async def run_check(
    terminal: Terminal,
    files: Sequence[Path],
    url: str | None,
    *,
    try_write: bool,
    sql: bool = False,
    probe: bool = False,
) -> Exit:
    """Check every schedule of the files. Returns the worst of their exit codes."""
    worst, fails = Exit.CLEAN, False
    for one in load(files, url=url):
        title = Text.assemble((one.name, "name"), f"  {one.origin}", (f"  {one.plan.mode}", "faint"))
        terminal.out.print(title, soft_wrap=True)
        try:
            found = await inspect(one, try_write=try_write, probe=probe)
        except KubesweepError as error:
            reason = f"{error.reason}: " if isinstance(error, (SweepFailure, Outage)) else ""
            terminal.error(f"{one.name}: {reason}{error}")
            worst = max(worst, code_of_error(error))
            continue
        show(terminal, one, found, sql=sql)
        if warnings(found, one):
            worst = max(worst, Exit.FAILURE)
        fails |= found.fails
    if worst in (Exit.CLEAN, Exit.FAILURE) and not fails:
        terminal.next_steps(_next_steps(files, url, try_write=try_write))
    else:
        terminal.next_steps([(f"{program()} check {_file_options(files)}{url_option(url)}", "after the fix")])
    return worst


async def inspect(one: Loaded, *, try_write: bool, probe: bool = False) -> Inspection:
    """Query the database, import the handler, and with ``probe`` send a request to the receiver.

    Raises Unreachable, or SweepFailure for problems that need an edit.
    """
    source, effect, status = ReconnectingSource(one.plan, one.database.read, one.database.where), None, None
    try:
        try:
            await source.probe()
        except (Outage, SweepFailure) as error:
            raise Unreachable(f"{error.reason}: {error}") from None
        effect = open_effect(one.plan, lambda: one.headers, folder_of(one), lambda: one.signing)
        if effect is not None:
            await effect.probe()
            status = await effect.ask() if probe else None
        return replace(await _inspect_source(source, try_write=try_write), receiver_status=status)
    finally:
        if effect is not None:
            await effect.close()
        await source.close()


async def _inspect_source(source: InspectableSource, *, try_write: bool) -> Inspection:
    table = await source.inspect()
    cutoff = await source.now()
    explained = await source.explain(cutoff)
    found = Inspection(table, explained, None, ())
    step = "counting the stale rows"
    try:
        stale = await source.count(Predicate(cutoff), COUNT_MOST + 1)
        samples = tuple(row.key for row in await source.stale(Range(), Predicate(cutoff), SAMPLES)) if stale else ()
        found, step = replace(found, stale=stale, samples=samples), "trying the write"
        return await _try_write(source, found, cutoff) if try_write else found
    except Outage as outage:
        if not timed_out(outage):
            raise
        return replace(found, timed_out=step)


async def _try_write(source: InspectableSource, found: Inspection, cutoff: str) -> Inspection:
    try:
        return replace(found, tried=await source.try_write(cutoff, TRY_ROWS))
    except RowError as error:
        return replace(found, refused=error)


def _next_steps(files: Sequence[Path], url: str | None, *, try_write: bool) -> list[tuple[str, str]]:
    options, steps = f"{_file_options(files)}{url_option(url)}", []
    if not try_write:
        steps.append((f"{program()} check {options} --try-write", "also try the write on 10 rows, rolled back"))
    steps.append((f"{program()} run {options} --once", "run one sweep now"))
    return steps


def _file_options(files: Sequence[Path]) -> str:
    return " ".join(f"-f {shlex.quote(str(file))}" for file in files)
