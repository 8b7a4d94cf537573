"""A folder, a state folder, and the command line in it; a sweep whose handler waits for a file."""

from __future__ import annotations

import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable, Sequence
from contextlib import closing
from fcntl import ioctl
from pathlib import Path

from kubesweep.queue.connect import connect
from kubesweep.queue.model import FailedRow, Limits, PlanVersion, ScheduleRef, Settlement, SweepRequest
from tests.kits.deadlines import scaled

PLAN = PlanVersion(1, "0123456789abcdef")
PROGRAM = str(Path(sys.executable).parent / "kubesweep")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RESULT = re.compile(r"([\d,]+) planned = ([\d,]+) applied \+ ([\d,]+) skipped .* ([\d,]+) retrying \+ ([\d,]+) dead")

SLOW = """
import asyncio, sys
from pathlib import Path

async def wait(row, ctx):
    print("handler entered", file=sys.stderr, flush=True)
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
"""
SLOW_SWEEP = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: slow}
spec:
  schedule: "@yearly"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: items}
  match: [{column: state, in: [old]}]
  effect: {concurrency: 2, handler: "slow_handler:wait", timeout: 4m, key: [id]}
  write: {update: [{column: state, value: new}]}
  limits: {batchRows: 10}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {url: "sqlite:///@FOLDER@/items.db"}
"""


class CommandLine:
    """Runs commands in a folder with a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBESWEEP_", "XDG_"))}
        self.environ = {
            **kept,
            "XDG_STATE_HOME": str(folder / "state"),
            "PATH": f"{Path(PROGRAM).parent}:{kept['PATH']}",
        }
        self.environ.pop("NO_COLOR", None)

    def run(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *arguments],
            check=False,
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=scaled(300),
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            check=False,
            shell=True,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=scaled(300),
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def slow(self, rows: int) -> str:
        """Write a sweep whose handler waits until the file ``go`` exists. Returns its file."""
        with closing(sqlite3.connect(self.folder / "items.db")) as db:
            db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, state TEXT NOT NULL)")
            db.executemany("INSERT INTO items VALUES (?, 'old')", [(number,) for number in range(rows)])
            db.commit()
        (self.folder / "slow_handler.py").write_text(SLOW)
        file = self.folder / "slow.yaml"
        file.write_text(SLOW_SWEEP.replace("@FOLDER@", str(self.folder)))
        return str(file)

    def states(self) -> dict[str, int]:
        with closing(sqlite3.connect(self.folder / "items.db")) as db:
            return dict(db.execute("SELECT state, count(*) FROM items GROUP BY state"))


def equation(text: str) -> tuple[int, ...]:
    found = RESULT.search(text)
    assert found, text
    return tuple(int(number.replace(",", "")) for number in found.groups())


def next_commands(text: str) -> list[str]:
    _, _, tail = text.partition("\nNext\n")
    return [line.strip() for line in tail.splitlines() if line.startswith("  ") and not line.startswith("  #")]


def read_until(stream: Iterable[str] | None, word: str) -> str:
    """The lines up to the one with ``word``. Fails at the end of the stream."""
    seen = ""
    for line in stream or ():
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"no {word!r} in the output:\n{seen}")


def on_a_terminal(
    cli: CommandLine,
    arguments: Sequence[str],
    typed: str = "",
    *,
    columns: int = 100,
    interrupt_at: str = "",
    **environ: str,
) -> tuple[int, str]:
    """Run on a pseudo-terminal with 30 lines, on which ``typed`` was typed ahead. Returns the exit code and all output.

    ``interrupt_at``: press Ctrl-C once the output has this text.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=cli.folder,
        env={**cli.environ, "TERM": "xterm-256color", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    sent = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last writer has closed it
            break
        if not part:
            break
        sent += part
        if interrupt_at and interrupt_at in sent.decode(errors="ignore"):
            process.send_signal(signal.SIGINT)
            interrupt_at = ""
    os.close(ours)
    return process.wait(timeout=scaled(300)), sent.decode()


async def dead_letter(cli: CommandLine, name: str, error: str = "CarrierRefused", namespace: str = "default") -> None:
    """A schedule in the default queue whose sweep has one dead letter."""
    queue = connect(f"sqlite:///{cli.folder}/state/kubesweep/queue.db")
    ref, limits = ScheduleRef.local(namespace, name), Limits()
    try:
        await queue.open_sweep(ref, SweepRequest(tick=1.0, plan=PLAN))
        (claim,) = (await queue.claim(ref, "me", 1, limits)).jobs
        await queue.settle(ref, "me", [Settlement(claim, extra=1, dead=(FailedRow(("1",), error, "no"),))], 0, limits)
    finally:
        await queue.close()
