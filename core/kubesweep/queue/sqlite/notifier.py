"""Notifies waiting processes of the same host that a queue has changed.

SQLite does not report writes of other processes. Each waiting process binds a datagram socket in Linux's abstract namespace,
under a name made of the file's device and inode. A notification is one empty datagram to each of these names.

- Nothing is left behind when a process dies.
- A lost notification costs one poll interval, and a false one costs one read: waiting processes poll too.
- Without an abstract namespace (other systems, another network namespace) there is only the poll.
"""

from __future__ import annotations

import contextlib
import socket
import sys

SLOTS = 8  # waiting processes that are notified; further ones only poll


class Notifier:
    """The notifier of one file, which must exist. Call ``close`` when done."""

    def __init__(self, inode: tuple[int, int]) -> None:
        self.inode = inode
        self._names = [f"\0kubesweep-queue/{inode[0]}/{inode[1]}/{slot}" for slot in range(SLOTS)]
        self._sender: socket.socket | None = None
        self.receiver: socket.socket | None = None  # readable after a notification; None: this process does not listen

    def listen(self) -> None:
        if self.receiver is not None or not sys.platform.startswith("linux"):
            return
        receiver = _socket()
        for name in self._names:
            with contextlib.suppress(OSError):
                receiver.bind(name)
                self.receiver = receiver
                return
        receiver.close()

    def notify(self) -> None:
        if not sys.platform.startswith("linux"):
            return
        if self._sender is None:
            self._sender = _socket()
        for name in self._names:
            with contextlib.suppress(OSError):  # no process listens, or its buffer is full
                self._sender.sendto(b"", name)

    def drain(self) -> None:
        """Discard the notifications so far."""
        if self.receiver is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.receiver.recv(1)

    def close(self) -> None:
        for one in (self._sender, self.receiver):
            if one is not None:
                one.close()
        self._sender = self.receiver = None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
