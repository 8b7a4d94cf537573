"""``kubesweep suspend`` and ``kubesweep resume``: stop the ticks and the rows of a schedule, until it is resumed."""

from __future__ import annotations

from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import answer, check_output, print_document, structured
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url
from kubesweep_cli.shell.suspending import set_suspended
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_resume", "run_suspend"]

_SUSPENDED = "suspended: no tick runs and no row is started; rows in progress end"
_RESUMED = "resumed: the next tick starts a sweep, and an unfinished sweep continues"


async def run_suspend(terminal: Terminal, option: str | None, name: str, namespace: str | None, output: str) -> Exit:
    """Every ``run`` and ``worker`` of the queue follows within seconds."""
    return await _set(terminal, option, name, namespace, output, True)


async def run_resume(terminal: Terminal, option: str | None, name: str, namespace: str | None, output: str) -> Exit:
    """Ticks that passed meanwhile never run."""
    return await _set(terminal, option, name, namespace, output, False)


async def _set(
    terminal: Terminal, option: str | None, name: str, namespace: str | None, output: str, value: bool
) -> Exit:
    check_output(output)
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        changed = await set_suspended(queue, ref, value)
        (stats,) = await queue.stats([ref])
    after, unchanged = (_SUSPENDED, "it is suspended already") if value else (_RESUMED, "it is not suspended")
    sentence = after if changed else unchanged
    if not value and stats.pace is not None and stats.pace.paused:
        sentence += ". Its throttle still starts no row"
    if structured(output):
        command, reason = ("Suspend", "Suspended") if value else ("Resume", "Resumed")
        print_document(terminal, output, [answer(ref.namespace, ref.name, command, reason, sentence)])
        return Exit.CLEAN
    terminal.line(f"{label(ref)}: {sentence}.")
    if value:
        back = f"{program()} resume {typed_name(ref, full=namespace is not None)}{queue_option(option)}"
        terminal.next_steps([(back, "let it run again")])
    elif stats.pace is not None and stats.pace.paused:
        reset = f"{program()} throttle {typed_name(ref, full=namespace is not None)} reset{queue_option(option)}"
        terminal.next_steps([(reset, "return to limits.rowsPerSecond")])
    return Exit.CLEAN
