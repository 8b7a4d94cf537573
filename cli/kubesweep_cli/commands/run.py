"""``kubesweep run`` and ``kubesweep worker``: files, database, queue, workers, screen and signals put together."""

from __future__ import annotations

import asyncio
import shlex
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from kubesweep.api.loading.files import Loaded, load
from kubesweep.errors import Outage, SpecError, SweepFailure
from kubesweep.listen_address import LOOPBACK, Address, parse_address
from kubesweep.queue.model import Stats
from kubesweep.queue.service import QueueService, stats_of_each
from kubesweep_cli.commands.run_report import report
from kubesweep_cli.runner.notices import Notices
from kubesweep_cli.runner.runner import Runner, RunResult, RunSettings
from kubesweep_cli.runner.worker_group import WorkerGroup, file_of
from kubesweep_cli.shell.exit_codes import Exit, Unreachable
from kubesweep_cli.shell.known_files import remember_files
from kubesweep_cli.shell.logs import warnings_through
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import TABLE, check_output, print_document, structured
from kubesweep_cli.shell.schedule_files import file_options
from kubesweep_cli.shell.state_paths import file_url, program, queue_option, queue_url, url_option
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.views.live import LiveScreen
from kubesweep_cli.views.plain import PlainScreen
from kubesweep_cli.views.status_document import status_document
from kubesweep_worker.metrics.endpoint import metrics_endpoint
from kubesweep_worker.runtime.signals import on_signal
from kubesweep_worker.sources.reconnecting import URL_INVALID, ReconnectingSource, is_wrong_url

__all__ = ["check_options", "preflight", "run_dry", "run_loaded", "run_local"]

NOTIFY_AGAIN = ' --notify "$KUBESWEEP_NOTIFY"'  # in printed commands, because the URL may be secret


def check_options(output: str, *, once: bool, dry_run: bool, ui: str | None, metrics: str | None) -> None:
    """Raise SpecError for options of ``run`` that exclude each other."""
    if structured(check_output(output)) and not (once or dry_run):
        raise SpecError(
            "OnceNeeded",
            f"-o {output} needs --once or --dry-run, because a run without them has no result.\n"
            f"For each change as a document:  {program()} status --watch -o {output}",
        )
    if dry_run and (ui or metrics):
        raise SpecError("NoDryRun", "--dry-run ends after one sweep, so it serves neither --ui nor --metrics.")


async def run_local(
    terminal: Terminal,
    files: Sequence[Path],
    option: str | None,
    url: str | None,
    settings: RunSettings,
    metrics: str | None = None,
    ui: str | None = None,
    output: str = TABLE,
) -> Exit:
    """Serve the schedules of ``files`` until a signal, or run one sweep of each. ``metrics``, ``ui``: the options of these names."""
    metrics_at = None if metrics is None else parse_address(metrics, "--metrics")
    console_at = None if ui is None else parse_address(ui, "--ui", LOOPBACK)
    people = _people(terminal, output)
    # Of two processes with different files, the one that started last has the newer plan.
    loaded = load(files, generation=time.time_ns() // 1_000_000, url=url)
    where = queue_url(option)
    async with open_queue(where, create=True) as queue:
        # Before the workers start: a refused password is reported once, not by each of them.
        known = await stats_of_each(queue, [one.ref for one in loaded])
        loaded = [_newest(*each) for each in zip(loaded, known, strict=True)]
        await preflight(loaded, url)
        remember_files(where, [(one.ref, one.file) for one in loaded], url_option(url))
        async with (
            _console(people, console_at, queue, where, option, loaded),
            _notices(settings, queue, option) as notices,
        ):
            result = await run_loaded(people, loaded, queue, where, settings, metrics_at, notices)
        if structured(output):
            print_document(terminal, output, _document(result))
        elif settings.clock:
            named = file_options(files) + url_option(url)
            once, notify = " --once" if settings.once else "", NOTIFY_AGAIN if settings.notify else ""
            run = f"{program()} run{once} {named}{queue_option(option)}{notify}"
            report(terminal, result, option, run=run, check=f"{program()} check {named}")
    return result.code


async def run_dry(terminal: Terminal, files: Sequence[Path], url: str | None, output: str = TABLE) -> Exit:
    """One sweep of each schedule in the mode DryRun, whatever its file says.

    It has a queue of its own, which is removed at the end: a plan of another mode would replace the sweep that runs in the real queue.
    """
    people = _people(terminal, output)
    loaded = [_as_dry_run(one) for one in load(files, generation=time.time_ns() // 1_000_000, url=url)]
    await preflight(loaded, url)
    with tempfile.TemporaryDirectory(prefix="kubesweep-dry-run-") as folder:
        where = file_url(Path(folder) / "queue.db")
        async with open_queue(where, create=True) as queue:
            result = await run_loaded(people, loaded, queue, where, RunSettings(once=True))
    if structured(output):
        print_document(terminal, output, _document(result))
    else:
        named = file_options(files) + url_option(url)
        run = f"{program()} run --once {named}"
        report(terminal, result, None, run=f"{run} --dry-run", check=f"{program()} check {named}")
        terminal.next_steps([(run, "do it: run one sweep now")] if result.code is Exit.CLEAN else [])
    return result.code


def _as_dry_run(one: Loaded) -> Loaded:
    return replace(one, plan=msgspec.structs.replace(one.plan, mode="DryRun"))


def _people(terminal: Terminal, output: str) -> Terminal:
    """Where the progress goes: not into a document."""
    return terminal.aside() if structured(check_output(output)) else terminal


def _document(result: RunResult) -> list[dict[str, Any]]:
    """As ``kubesweep status`` prints it, after the run."""
    found = result.schedules
    return status_document([one.ref for one in found], [one.stats for one in found], time.time())


def _newest(one: Loaded, known: Stats) -> Loaded:
    """The schedule under a generation above that of every other plan in the queue, whose clock may have been ahead."""
    plans = [*(sweep.plan for sweep in known.sweeps), *(each.plan for each in known.findings)]
    ahead = [plan.generation for plan in plans if not plan.same(one.plan.version)]
    generation = max([one.plan.generation, *(each + 1 for each in ahead)])
    return replace(one, plan=msgspec.structs.replace(one.plan, generation=generation))


async def preflight(loaded: Sequence[Loaded], url: str | None = None) -> None:
    """Check that each database answers and fits its schedule. ``url`` is the option ``--url``.

    A later outage is waited out. One at the start is more likely a typo in the URL. Raises Unreachable, or SweepFailure
    for problems that need an edit.
    """
    for one in loaded:
        source = ReconnectingSource(one.plan, one.database.read, one.database.where)
        try:
            try:
                await source.probe()
            except (Outage, SweepFailure) as error:
                message = _preflight_message(one, error, url)
                raise (SweepFailure(URL_INVALID, message) if is_wrong_url(error) else Unreachable(message)) from None
            try:
                await source.inspect()
            except SweepFailure as error:
                raise SweepFailure(error.reason, _preflight_message(one, error, url)) from None
        finally:
            await source.close()


def _preflight_message(one: Loaded, error: Outage | SweepFailure, url: str | None) -> str:
    check = f"{program()} check -f {shlex.quote(str(file_of(one)))}{url_option(url)}"
    return f"{one.origin}: {one.name}: {error.reason}: {error}\nAfter the fix:  {check}"


async def run_loaded(
    terminal: Terminal,
    loaded: Sequence[Loaded],
    queue: QueueService,
    queue_url: str,
    settings: RunSettings,
    metrics: Address | None = None,
    notices: Notices | None = None,
) -> RunResult:
    """The run itself, with the live view or with plain lines. ``metrics``: where the workers' metrics are served."""
    active = [one for one in loaded if not (one.suspend and settings.clock)]
    with _screen(terminal) as screen, warnings_through(screen.show_message):
        async with WorkerGroup.started(active, queue_url) as workers:
            runner = Runner(loaded, queue, workers, screen, settings, notices=notices)
            with _signals(runner, workers):
                async with _metrics(metrics, workers):
                    return await runner.run()


def _metrics(address: Address | None, workers: WorkerGroup) -> AbstractAsyncContextManager[object]:
    if address is None:
        return nullcontext()
    return metrics_endpoint(address, workers.snapshots, "give --metrics another address")


@asynccontextmanager
async def _console(
    terminal: Terminal,
    address: Address | None,
    queue: QueueService,
    where: str,
    option: str | None,
    loaded: Sequence[Loaded],
) -> AsyncIterator[None]:
    """The console while the run lasts; nothing without an address."""
    if address is None:
        yield
        return
    # aiohttp's server takes tenths of a second to import, which a run without the console need not wait for.
    from kubesweep_cli.dashboard.actions import QueueActions
    from kubesweep_cli.dashboard.provider import QueueProvider
    from kubesweep_console.serving import serving

    provider = QueueProvider(queue, where, option, loaded)
    async with serving(address, provider, QueueActions(queue, provider)) as link:
        terminal.line(f"console: {link}")
        yield


@asynccontextmanager
async def _notices(settings: RunSettings, queue: QueueService, option: str | None) -> AsyncIterator[Notices | None]:
    if settings.notify is None:
        yield None
        return
    from kubesweep_cli.runner.notice_sender import deliveries  # imports aiohttp, as above

    async with deliveries(settings.notify) as sender:
        yield Notices(queue, sender, queue_option(option))


def _screen(terminal: Terminal) -> LiveScreen | PlainScreen:
    return LiveScreen(terminal) if terminal.live else PlainScreen(terminal)  # in a pipe, and beside a document


@contextmanager
def _signals(runner: Runner, workers: WorkerGroup) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    on_signal(signal.SIGINT, workers.begin_drain, runner.interrupt)
    on_signal(signal.SIGTERM, workers.begin_drain, lambda: runner.interrupt(term=True))
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
