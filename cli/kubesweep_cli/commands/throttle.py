"""``kubesweep throttle``: change the rate of a schedule while it runs."""

from __future__ import annotations

from kubesweep.errors import SpecError
from kubesweep.queue.model import LOCAL, Pace, describe_rate
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.open_queue import open_queue
from kubesweep_cli.shell.schedule_names import find, label, typed_name
from kubesweep_cli.shell.state_paths import program, queue_option, queue_url
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_throttle"]

RESET = "reset"


async def run_throttle(terminal: Terminal, option: str | None, name: str, rate: str, namespace: str | None) -> Exit:
    """``rate``: rows per second, pause, off or reset."""
    throttle = "" if rate == RESET else rate
    Pace.of(None, throttle)  # refuse a wrong rate before the queue is opened
    url = queue_url(option)
    async with open_queue(url) as queue:
        ref = find(await queue.schedules(), name, namespace, url)
        if ref.install != LOCAL:
            key = "kubesweep.dev/throttle" + ("-" if rate == RESET else f"={rate} --overwrite")
            raise SpecError(
                "ServedByController",
                f"{label(ref)} belongs to a controller, which would set the rate back. Use its annotation:\n"
                f"kubectl annotate sweepschedule {ref.name} -n {ref.namespace} {key}",
            )
        (stats,) = await queue.stats([ref])
        declared = stats.pace or Pace()
        pace = Pace.of(declared.rows_per_second, throttle, declared.batch_time, declared.health)
        await queue.set_pace(ref, pace)
        await queue.pause(ref, pace.paused)
    terminal.line(f"{label(ref)}: the rate is {describe_rate(pace.rate)}.")
    if throttle:
        back = f"{program()} throttle {typed_name(ref)} {RESET}{queue_option(option)}"
        terminal.next_steps([(back, "return to limits.rowsPerSecond")])
    return Exit.CLEAN
