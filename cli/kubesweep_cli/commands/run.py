"""``run`` and ``worker`` put together: files, database, queue, workers, screen and signals."""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from kubesweep.api.loading.files import Loaded, load
from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.connect import connect
from kubesweep.queue.model import Stats, SweepState
from kubesweep.queue.service import QueueService
from kubesweep_cli.commands.dead_letters import plain_key
from kubesweep_cli.runner.progress import Track
from kubesweep_cli.runner.runner import Ending, Runner, RunSettings
from kubesweep_cli.runner.worker_group import WorkerCrew
from kubesweep_cli.shell.exit_codes import Exit, Unreachable
from kubesweep_cli.shell.logs import redirected
from kubesweep_cli.shell.schedule_names import typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url, url_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views import formatting
from kubesweep_cli.views.live import LiveScreen
from kubesweep_cli.views.plain import PlainScreen
from kubesweep_cli.views.result_table import result_table
from kubesweep_cli.views.schedule_view import balance
from kubesweep_worker.runtime.signals import on_signal
from kubesweep_worker.sources.reconnecting import ReconnectingSource

__all__ = ["preflight", "run_loaded", "run_local", "swept"]


async def run_local(
    terminal: Terminal, files: Sequence[Path], option: str | None, url: str | None, settings: RunSettings
) -> Exit:
    """Serve the schedules of ``files`` until a signal, or once; ends with a table and what to type next."""
    # Of two processes with different files the one that was started last knows better; the other one steps aside.
    loaded = load(files, generation=time.time_ns() // 1_000_000, url=url)
    where = queue_url(option)
    queue = connect(where)
    try:
        # Before the workers: what they say of a refused password is right as well, but not the first thing to read.
        known = await queue.stats([one.ref for one in loaded])
        loaded = [_newest(*each) for each in zip(loaded, known, strict=True)]
        await preflight(loaded, url)
        ending = await run_loaded(terminal, loaded, queue, where, settings)
        if settings.clock:
            await _farewell(terminal, ending, queue, option, files, url, settings)
    finally:
        await queue.close()
    return ending.code


def _newest(one: Loaded, known: Stats) -> Loaded:
    """The schedule under a generation that no other plan in the queue exceeds: their clock may have been ahead of this one."""
    plans = [*(sweep.plan for sweep in (known.sweep, *known.history) if sweep), *(each.plan for each in known.findings)]
    ahead = [plan.generation for plan in plans if not plan.same(one.plan.version)]
    generation = max([one.plan.generation, *(each + 1 for each in ahead)])
    return replace(one, plan=msgspec.structs.replace(one.plan, generation=generation))


async def preflight(loaded: Sequence[Loaded], url_given: str | None = None) -> None:
    """Each database answers and fits its schedule; ``url_given`` is the option of the command line. Raises Unreachable, or SweepFailure for what only an edit cures.

    Outages later on are waited out; one at the very start is more likely a typo in the URL.
    """
    for one in loaded:
        source = ReconnectingSource(one.plan, one.database.read, one.database.where)
        try:
            try:
                await source.probe()
            except (Outage, SweepFailure) as error:
                raise Unreachable(f"{one.origin}: {one.name}: {error.reason}: {error}{_look(one, url_given)}") from None
            try:
                await source.inspect()
            except SweepFailure as error:
                raise SweepFailure(
                    error.reason, f"{one.origin}: {one.name}: {error.reason}: {error}{_look(one, url_given)}"
                ) from None
        finally:
            await source.close()


def _look(one: Loaded, url_given: str | None) -> str:
    file = shlex.quote(one.origin.rpartition(":")[0])
    return f"\nAfter the cure:  {program()} check -f {file}{url_option(url_given)}"


async def run_loaded(
    terminal: Terminal, loaded: Sequence[Loaded], queue: QueueService, queue_url: str, settings: RunSettings
) -> Ending:
    """The run itself, with the live view or with plain lines."""
    active = [one for one in loaded if not (one.suspend and settings.clock)]
    with _screen(terminal) as screen, redirected(screen.remark):
        async with WorkerCrew.hired(active, queue_url) as crew:
            runner = Runner(loaded, queue, crew, screen, settings)
            with _signals(runner, crew):
                return await runner.run()


def _screen(terminal: Terminal) -> LiveScreen | PlainScreen:
    return LiveScreen(terminal) if terminal.live else PlainScreen(terminal)


@contextmanager
def _signals(runner: Runner, crew: WorkerCrew) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    on_signal(signal.SIGINT, crew.hold, runner.interrupt)
    on_signal(signal.SIGTERM, crew.hold, lambda: runner.interrupt(term=True))
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def swept(ending: Ending) -> list[tuple[str, Track]]:
    """The schedules that had a sweep in this run."""
    return [(track.name, track) for track in ending.tracks if track.sweep is not None]


async def _farewell(
    terminal: Terminal,
    ending: Ending,
    queue: QueueService,
    option: str | None,
    files: Sequence[Path],
    url: str | None,
    settings: RunSettings,
) -> None:
    terminal.show(
        result_table([(track.name, track.sweep) for track in ending.tracks], width=terminal.out.width, took=ending.took)
    )
    sweeps = [track.sweep for track in ending.tracks if track.sweep is not None and track.sweep.mode != "DryRun"]
    if sweeps and all(sweep.state.settled for sweep in sweeps):
        terminal.line(f"  {balance(sweeps)}")
    for track in ending.tracks:
        _explain(terminal, track)
    named = " ".join(f"-f {shlex.quote(str(file))}" for file in files) + url_option(url)
    again = f"{program()} run{' --once' if settings.once else ''} {named}{queue_option(option)}"
    steps = _next(ending, option, again)
    if any(sweep.state is SweepState.FAILED for sweep in sweeps):
        steps.insert(0, (f"{program()} check {named}", "what is wrong, in detail"))
    terminal.next_steps(steps)


def _explain(terminal: Terminal, track: Track) -> None:
    sweep = track.sweep
    if sweep is None:
        return
    for earlier, became in track.settled_earlier:
        tick = formatting.clock_time(earlier.tick, sweep.tick)
        what = ", ".join(f"{formatting.count(number)} {name}" for name, number in became.items())
        terminal.line(f"  {track.name}: rows that the sweep of {tick} had left for a retry: {what}")
    if sweep.message and sweep.state is not SweepState.COMPLETED:
        terminal.warn(f"  {track.name}: {sweep.reason}: {sweep.message}")
    if sweep.capped and sweep.tried_all:
        terminal.say(
            f"  {track.name}: this sweep planned as many rows as one may (maxRowsPerSweep, or twice what was stale); "
            "the next one goes on where it stopped."
        )
    if sweep.mode == "DryRun" and sweep.samples:
        keys = ", ".join(plain_key(key) for key in sweep.samples[:10])
        terminal.line(f"  {track.name}: DryRun, nothing was changed; such keys would be swept: {keys}")


def _next(ending: Ending, option: str | None, again: str) -> list[tuple[str, str]]:
    steps: list[tuple[str, str]] = []
    for track in ending.tracks:
        if track.sweep is not None and track.sweep.state is SweepState.AWAITING_APPROVAL:
            steps.append(
                (
                    f"{program()} approve {typed_name(track.ref)}{queue_option(option)}",
                    f"let it go on: {track.sweep.reason or 'more than approveAbove.rows'}",
                )
            )
    if any(track.stats.dead for track in ending.tracks):
        steps.append((f"{program()} dead list{queue_option(option)}", "the dead letters, grouped by error"))
    if ending.waiting:
        steps.append((again, "goes on with the rows that wait for a retry"))
    elif ending.interrupted:
        steps.append((again, "goes on where this stopped"))
    elif steps and steps[0][1].startswith("let it go on"):
        steps.append((again, "and then sweeps it"))
    return steps
