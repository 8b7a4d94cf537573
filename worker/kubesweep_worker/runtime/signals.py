"""Signals. The first SIGTERM or SIGINT drains: no further effect starts, and in-flight jobs are settled or released. The
second stops now.

A user's handler that blocks the event loop delays the drain, but not its first part: Python runs a signal handler between
two instructions of the main thread, so ``begin_drain`` is called immediately.
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


class Drainable(Protocol):
    def begin_drain(self) -> None: ...

    def stop(self, *, now: bool = False) -> None: ...


# A process that the user's code forks shares the pipe into which Python writes signal numbers. Its own signals would make the
# worker drain, for example when a process pool ends. So signals are blocked until the child has closed its end of that pipe.
_handled: set[signal.Signals] = set()
_forking = threading.local()


def _block() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _handled)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _reset_child() -> None:
    signal.set_wakeup_fd(-1)
    for number in _handled:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _handled.clear()  # handlers that the child installs are its own
    _unblock()


os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_reset_child)


def on_signal(number: signal.Signals, immediately: Callable[[], None], in_loop: Callable[[], None]) -> None:
    """On the signal call ``immediately`` inside the signal handler, and ``in_loop`` in the running event loop."""
    asyncio.get_running_loop().add_signal_handler(number, in_loop)
    _handled.add(number)
    # The number in the pipe wakes the loop, whichever handler runs.
    signal.signal(number, lambda *_: immediately())
    signal.siginterrupt(number, False)


def install_signal_handlers(*workers: Drainable, within: float | None = None) -> None:
    """Let SIGTERM and SIGINT stop ``workers``. Call it inside the running event loop.

    ``within``: seconds after the first signal at which the process ends in any case, with exit code 1 and the stacks of its
    threads.
    """
    seen, armed = 0, False

    def begin_drain() -> None:
        nonlocal armed
        for worker in workers:
            worker.begin_drain()
        if within is not None and not armed:
            armed = True
            with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):  # stderr is not a file
                faulthandler.dump_traceback_later(within, exit=True)

    def stop(name: str) -> None:
        nonlocal seen
        seen += 1
        log.info("draining" if seen == 1 else "stopping now", extra={"signal": name})
        for worker in workers:
            worker.stop(now=seen > 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, begin_drain, lambda name=number.name: stop(name))  # type: ignore[misc]
