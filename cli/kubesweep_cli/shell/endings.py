"""How a program on a terminal ends: an error becomes a message and an exit code, here and nowhere else.

``kubesweep`` and ``kubectl sweep`` share it. It imports nothing slow, because a help page ends here too.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from kubesweep.errors import KubesweepError
from kubesweep.streams import ignore_write_errors, lost_output, open_missing
from kubesweep_cli.shell.missing_package import exit_if_missing

if TYPE_CHECKING:
    from kubesweep_cli.shell.exit_codes import Exit
    from kubesweep_cli.shell.terminal import Terminal

__all__ = ["run_to_end"]


def run_to_end(
    work: Callable[[], object],
    terminal: Callable[[], Terminal],
    record: Callable[[Exception], str],
    *,
    extra: str = "",
) -> NoReturn:
    """Run ``work`` and exit. Only ``-v`` shows a traceback.

    ``record`` keeps an unexpected error and returns where its traceback is, as a sentence. ``extra``: what installs the packages of
    this program.
    """
    signal.signal(signal.SIGTERM, _terminated)
    open_missing()
    ignore_write_errors()
    try:
        _run(work, terminal, record, extra)
    except SystemExit as end:
        why = lost_output()
        if why:
            terminal().error(f"stdout cannot be written: {why}. The command is done, but its output is lost.")
        sys.exit(end.code or (1 if why else 0))


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """A command that handles SIGTERM itself, such as ``run``, replaces this. As the first process of a container it has no default.

    Python has to end in order: the kubernetes package then deletes the keys that it wrote to temporary files.
    """
    sys.exit(128 + number)


def _run(
    work: Callable[[], object], terminal: Callable[[], Terminal], record: Callable[[Exception], str], extra: str
) -> NoReturn:
    try:
        work()
    except KubesweepError as error:
        terminal().error(str(error))
        sys.exit(_code(error))
    except KeyboardInterrupt as error:
        sys.exit(_code(error))
    except Exception as error:
        if isinstance(error, ModuleNotFoundError):
            exit_if_missing(error, extra)
        _report_bug(error, terminal(), record)
    sys.exit(0)


def _code(error: BaseException) -> Exit:
    from kubesweep_cli.shell.exit_codes import code_of_error

    return code_of_error(error)


def _report_bug(error: Exception, terminal: Terminal, record: Callable[[Exception], str]) -> NoReturn:
    import traceback

    where = record(error)
    if terminal.verbosity > 0:
        terminal.err.print("".join(traceback.format_exception(error)), markup=False)
        where = ""
    lines = [f"{type(error).__name__}: {error}", where, "This is a bug in Kubesweep: please report it."]
    terminal.error("\n".join(filter(None, lines)))
    sys.exit(_code(error))
