"""``kubesweep throttle``: change the rate of a schedule while it runs."""

from __future__ import annotations

from kubesweep.queue.model import Pace, describe_rate
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal
from kubesweep_cli.shell.throttling import RESET, set_throttle

__all__ = ["run_throttle"]


async def run_throttle(terminal: Terminal, option: str | None, name: str, rate: str, namespace: str | None) -> Exit:
    """``rate``: rows per second, pause, off or reset."""
    if rate != RESET:
        Pace.of(None, rate)  # refuse a wrong rate before the queue is opened
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        pace = await set_throttle(queue, ref, rate)
    terminal.line(f"{label(ref)}: the rate is {describe_rate(pace.rate)}.")
    if rate != RESET:
        back = f"{program()} throttle {typed_name(ref)} {RESET}{queue_option(option)}"
        terminal.next_steps([(back, "return to limits.rowsPerSecond")])
    return Exit.CLEAN
