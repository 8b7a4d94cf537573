"""Threads for handlers that are plain functions.

They are daemons, and reused, because a library may keep a database connection for each thread. A call that times out cannot
be stopped: its thread is abandoned, and counted as leaked until the call returns by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Callable
from typing import Any

Call = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        if inspect.iscoroutine(result):  # its caller stopped waiting, so it is never awaited
            result.close()
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Thread:
    def __init__(self, done: Callable[[_Thread], None]) -> None:
        self.inbox: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self.busy: asyncio.Future[Any] | None = None  # the future of the current call
        self.abandoned = False
        self._done = done
        threading.Thread(target=self._run, name="kubesweep-handler", daemon=True).start()

    def _run(self) -> None:
        while (call := self.inbox.get()) is not None:
            function, future, loop = call
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # a handler's SystemExit fails its row and must not end the thread
                # A future cannot carry StopIteration.
                error = RuntimeError("StopIteration") if isinstance(raised, StopIteration) else raised
            self._done(self)
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing awaits the result
                loop.call_soon_threadsafe(_resolve, future, result, error)
            del function, future, result, error


class HandlerThreads:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Thread] = []
        self.leaked = 0

    def _done(self, thread: _Thread) -> None:
        with self._lock:
            if thread.abandoned:
                self.leaked -= 1
                thread.abandoned = False
            thread.busy = None
            self._idle.append(thread)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run ``function`` in a thread. Cancelling the call, as a timeout does, abandons its thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            thread = self._idle.pop() if self._idle else None
        thread = thread or _Thread(self._done)
        thread.busy = future
        thread.inbox.put((function, future, loop))
        try:
            return await future
        except asyncio.CancelledError:
            with self._lock:
                if thread.busy is future:
                    thread.abandoned = True
                    self.leaked += 1
            raise

    def close(self) -> None:
        with self._lock:
            for thread in self._idle:
                thread.inbox.put(None)
            self._idle.clear()
