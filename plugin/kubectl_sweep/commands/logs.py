"""``kubectl sweep logs``: what the workers and the ticks of a schedule print."""

from __future__ import annotations

from dataclasses import dataclass

from kubectl_sweep.context import Context
from kubectl_sweep.logs.lines import LogFormat, format_line
from kubectl_sweep.logs.pods import selector
from kubectl_sweep.logs.read import Selection, follow, read
from kubesweep.errors import SpecError
from kubesweep_cli.shell.exit_codes import Exit

__all__ = ["LogOptions", "run_logs"]

FOLLOWED, READ = 10, 200  # lines of each pod, unless --tail or --since say otherwise


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    ticks: bool | None = None  # only those of ticks; False: only those of workers
    since: float | None = None  # seconds
    tail: int | None = None
    previous: bool = False
    output: str = ""


def run_logs(context: Context, name: str, options: LogOptions) -> Exit:
    """Exit code 1 where no pod has a log."""
    if options.follow and options.previous:
        raise SpecError(
            "BadOption", "--previous and --follow exclude each other: the former container prints nothing more."
        )
    how = _format(context, options.output)
    ref = context.ref(name)
    context.cluster.schedule(ref.namespace, ref.name)  # a wrong name is reported with the nearest one
    tail = (
        options.tail if options.tail is not None or options.since is not None else FOLLOWED if options.follow else READ
    )
    chosen = Selection(ref.namespace, selector(ref.name, ticks=options.ticks), options.since, tail, options.previous)
    shown = 0
    for line in (follow if options.follow else read)(context.cluster, chosen):
        context.terminal.out.print(format_line(line.pod, line.text, how), soft_wrap=True)
        shown += 1
    if shown:
        return Exit.CLEAN
    what = "container has restarted" if options.previous else "pod of it has a log now"
    context.terminal.say(
        f"No {what}. Workers are scaled to zero while there is nothing to do, and pods of ticks are deleted after some time.\n"
        f"To wait for the next one:  {context.command('logs', ref)} -f\n"
        f"To start a sweep:  {context.command('trigger', ref)}"
    )
    return Exit.FAILURE


def _format(context: Context, output: str) -> LogFormat:
    """Readable lines on a terminal, those of the pod in a pipe."""
    if not output:
        return LogFormat.TEXT if context.terminal.out.is_terminal else LogFormat.RAW
    try:
        return LogFormat(output)
    except ValueError:
        raise SpecError(
            "BadOutput", f"-o {output}: unknown output format.\nWrite one of: {', '.join(LogFormat)}."
        ) from None
