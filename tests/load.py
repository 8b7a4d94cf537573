"""Runs a command while the machine is under load: ``python3 tests/load.py -- make test``. Tests must pass on a shared machine.

The load is six processes by default: busy loops, at least one for each core, and one that writes to the disk and flushes. They end with the command,
with this process however it ends, and at the latest after ``--minutes``. The exit code is the command's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

BLOCK = bytes(1 << 20)
BLOCKS = 64  # of the file, which is written repeatedly


def busy(parent: int, until: float) -> None:
    while _wanted(parent, until):
        for number in range(100_000):
            number * number


def writing(parent: int, until: float) -> None:
    with tempfile.TemporaryFile(dir="/var/tmp") as file:  # unnamed, so it is deleted with the process
        while _wanted(parent, until):
            file.seek(0)
            for _ in range(BLOCKS):
                file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())


def _wanted(parent: int, until: float) -> bool:
    return os.getppid() == parent and time.monotonic() < until


@contextmanager
def load(processes: int, seconds: float) -> Iterator[None]:
    """Run ``processes`` processes, of which one writes; more where the machine has more cores."""
    context = multiprocessing.get_context("fork")
    given = (os.getpid(), time.monotonic() + seconds)
    loops = max(processes - 1, os.cpu_count() or 1)
    made = [context.Process(target=target, args=given, daemon=True) for target in (writing, *[busy] * loops)]
    for process in made:
        process.start()
    try:
        yield
    finally:
        for process in made:
            process.kill()
            process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=120.0, help="when the load ends, if the command does not")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with load(options.processes, options.minutes * 60), subprocess.Popen(options.command) as command:
        try:
            code = command.wait()
        except BaseException:
            command.terminate()
            raise
    print(f"load: {options.processes} processes of load; load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
