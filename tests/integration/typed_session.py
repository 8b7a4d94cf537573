"""A person at a terminal: types each answer when the program asks for it, and counts what is typed."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

from tests.integration.command_line import ANSI, PROGRAM, CommandLine
from tests.kits.deadlines import scaled

CHARACTERS_A_MINUTE = 200  # 40 words of five characters, a slow typist
CTRL_C = "\x03"


class TypedSession:
    """``typed``: characters, with the Enter of each line. ``asked``: prompts that were answered."""

    def __init__(self, cli: CommandLine, **environ: str) -> None:
        self._cli = cli
        self._environ = {**cli.environ, "TERM": "xterm-256color", **environ}
        self.typed = self.asked = 0

    @property
    def minutes(self) -> float:
        return self.typed / CHARACTERS_A_MINUTE

    def type(self, command: str) -> None:
        """A command of the shell, such as an export, which only counts."""
        self.typed += len(command) + 1

    def run(self, command: str, answers: Sequence[tuple[str, str]] = (), code: int = 0) -> str:
        """Type a command, then an answer after each prompt that has the given words. Returns the output."""
        self.type(command)
        ours, process = self._start(shlex.split(command)[1:])
        output = ""
        for words, answer in answers:
            output += _read(ours, re.compile(rf"{re.escape(words)}[^\n]*: $"))
            if answer == CTRL_C:
                _until_asleep(process.pid)
            os.write(ours, answer.encode() if answer == CTRL_C else f"{answer}\n".encode())
            self.typed += len(answer) + 1
            self.asked += 1
        output += _read(ours, None)
        os.close(ours)
        assert process.wait(timeout=scaled(60)) == code, output
        return output

    def _start(self, arguments: Sequence[str]) -> tuple[int, subprocess.Popen[bytes]]:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self._cli.folder,
            env=self._environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 Ctrl-C reaches it only by a terminal of its own
        )
        os.close(theirs)
        return ours, process


def _until_asleep(pid: int) -> None:
    """Wait until a process that has asked waits for the answer. A signal in the moment before interrupts no read in CPython's readline."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()


def _read(terminal: int, until: re.Pattern[str] | None) -> str:
    """The output up to the pattern at its end; with None up to the end of the program."""
    sent, deadline = b"", time.monotonic() + scaled(120)
    while True:
        text = ANSI.sub("", sent.decode(errors="ignore")).replace("\r\n", "\n")
        if until is not None and until.search(text):
            return text
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited in vain for {until and until.pattern}:\n{text}"
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the last writer has closed it
            part = b""
        if not part:
            assert until is None, f"it ended before {until and until.pattern}:\n{text}"
            return text
        sent += part
