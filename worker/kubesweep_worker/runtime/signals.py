"""Signals. The first SIGTERM or SIGINT drains: no effect begins, what is in hand is settled or given back; the second
stops now. A handler of the user that blocks the event loop delays all of that but the first: Python runs a signal's own
handler between two instructions of whatever the main thread does.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger("kubesweep.worker")


class Stoppable(Protocol):
    def hold(self) -> None: ...

    def stop(self, *, now: bool = False) -> None: ...


# A process that the user's code forks must not take its own signals for the worker's: it would write them into the pipe that
# both share, and the worker would drain when a pool ends its processes. They are held up until the child has forgotten the pipe.
_asked: set[signal.Signals] = set()
_forking = threading.local()


def _hold_up() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _asked)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _forget() -> None:
    signal.set_wakeup_fd(-1)
    for number in _asked:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _asked.clear()  # what the child installs is its own
    _let_through()


os.register_at_fork(before=_hold_up, after_in_parent=_let_through, after_in_child=_forget)


def on_signal(number: signal.Signals, hold: Callable[[], None], react: Callable[[], None]) -> None:
    """Call ``hold`` at once, amid anything, and ``react`` in the running event loop as soon as it turns."""
    asyncio.get_running_loop().add_signal_handler(number, react)
    _asked.add(number)
    # The loop wakes up by the number that the interpreter writes into its pipe; whose handler runs makes no difference.
    signal.signal(number, lambda *_: hold())
    signal.siginterrupt(number, False)


def install_signals(*workers: Stoppable, within: float | None = None) -> None:
    """Let SIGTERM and SIGINT stop ``workers``; to be called inside the running event loop. ``within``: seconds from the
    first signal after which the process ends, with 1 and the stacks of its threads, whatever holds it."""
    seen, armed = 0, False

    def hold() -> None:
        nonlocal armed
        for worker in workers:
            worker.hold()
        if within is not None and not armed:
            armed = True
            with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):  # stderr is no file
                faulthandler.dump_traceback_later(within, exit=True)

    def react(name: str) -> None:
        nonlocal seen
        seen += 1
        log.info("draining" if seen == 1 else "stopping now", extra={"signal": name})
        for worker in workers:
            worker.stop(now=seen > 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, hold, lambda name=number.name: react(name))  # type: ignore[misc]
