"""A bell between the processes of one host: whoever changes a queue rings, whoever waits for it wakes at once.

SQLite tells nobody that another process wrote. Waiters bind a datagram socket in Linux's abstract namespace, under a name
made of the file's device and inode; ringing sends one empty datagram to each such name. Nothing is left behind when a
process dies, a lost ring costs no more than the poll that is there anyway, and a false one no more than a look. Where there
is no abstract namespace (other systems, another network namespace) the poll is all there is.
"""

from __future__ import annotations

import contextlib
import socket
import sys

SLOTS = 8  # waiting processes that are rung; a further one polls


class Bell:
    """One file's bell. Create it once the file exists; ``close`` when done."""

    def __init__(self, inode: tuple[int, int]) -> None:
        self.inode = inode
        self._names = [f"\0kubesweep-queue/{inode[0]}/{inode[1]}/{slot}" for slot in range(SLOTS)]
        self._out: socket.socket | None = None
        self.ear: socket.socket | None = None  # readable when somebody rang; None: nobody can

    def listen(self) -> None:
        if self.ear is not None or not sys.platform.startswith("linux"):
            return
        ear = _socket()
        for name in self._names:
            with contextlib.suppress(OSError):
                ear.bind(name)
                self.ear = ear
                return
        ear.close()

    def ring(self) -> None:
        if not sys.platform.startswith("linux"):
            return
        if self._out is None:
            self._out = _socket()
        for name in self._names:
            with contextlib.suppress(OSError):  # nobody there, or one who was rung often enough
                self._out.sendto(b"", name)

    def heard(self) -> None:
        """Forget the rings so far."""
        if self.ear is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.ear.recv(1)

    def close(self) -> None:
        for one in (self._out, self.ear):
            if one is not None:
                one.close()
        self._out = self.ear = None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
