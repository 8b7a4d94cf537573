"""``kubesweep throttle``: change the rate of a schedule while it runs."""

from __future__ import annotations

from kubesweep.queue.model import Pace, describe_rate
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.output import answer, check_output, print_document, structured
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.shell.throttling import RESET, set_throttle

__all__ = ["run_throttle"]


async def run_throttle(
    terminal: Terminal, option: str | None, name: str, rate: str, namespace: str | None, output: str
) -> Exit:
    """``rate``: rows per second, pause, off or reset."""
    check_output(output)
    if rate != RESET:
        Pace.of(None, rate)  # refuse a wrong rate before the queue is opened
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        pace = await set_throttle(queue, ref, rate)
    sentence = f"the rate is {describe_rate(pace.rate)}"
    if structured(output):
        print_document(terminal, output, [answer(ref.namespace, ref.name, "Throttle", "Throttled", sentence)])
        return Exit.CLEAN
    terminal.line(f"{label(ref)}: {sentence}.")
    if rate != RESET:
        back = f"{program()} throttle {typed_name(ref, full=namespace is not None)} {RESET}{queue_option(option)}"
        terminal.next_steps([(back, "return to limits.rowsPerSecond")])
    return Exit.CLEAN
