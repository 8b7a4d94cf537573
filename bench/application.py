"""The application beside a sweep: pgbench with short transactions by key on the swept table, at a fixed rate.

Each transaction reads and updates one row that is not stale. A latency is counted from the time at which the transaction was due,
so that one that waits for its predecessors is not left out (https://www.postgresql.org/docs/current/pgbench.html, ``--rate``).
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server

SCRIPT = Path(__file__).with_name("application.sql")
LONGEST = 3600  # seconds; the run is ended before
MOST_BEHIND = 120  # seconds


@dataclass(frozen=True, slots=True)
class Load:
    """``rows`` of the table, of which every ``every``-th is stale, and the number of concurrent ``clients``."""

    rows: int
    every: int
    clients: int


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of the transactions that were due during a period, in milliseconds. ``rate``: how many of them a second."""

    rate: float
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Application:
    """A running pgbench, and the prefix of its log files."""

    process: subprocess.Popen[str]
    log: Path

    def stop(self, after: float) -> None:
        """End it once it served what was due before ``after``, in seconds since 1970. Raises RuntimeError if it is far behind."""
        while self.process.poll() is None and self._newest() < after:
            if time.time() > after + MOST_BEHIND:
                raise RuntimeError(f"the application is more than {MOST_BEHIND} s behind its rate")
            time.sleep(0.05)
        # The signal of its own timer: it ends as after its time, and writes the rest of its log.
        self.process.send_signal(signal.SIGALRM)
        output, errors = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            raise RuntimeError(f"pgbench ended with {self.process.returncode}: {output}{errors}")

    def latencies(self, began: float, ended: float) -> Latencies:
        """Of the transactions that were due between the two times, in seconds since 1970."""
        return latencies(self._lines(), began, ended)

    def _newest(self) -> float:
        """When the transaction that was logged last was due."""
        lines = self._lines()
        return _due_and_took(lines[-1])[0] if lines else 0.0

    def _lines(self) -> list[str]:
        """The complete lines. One thread runs all clients, so there is one file."""
        text = "".join(file.read_text() for file in self.log.parent.glob(f"{self.log.name}.*"))
        return text[: text.rfind("\n") + 1].splitlines()


def capacity(server: Server, database: str, load: Load, seconds: int) -> float:
    """Transactions per second without a limit."""
    done = subprocess.run(
        _command(server, database, load, "-T", str(seconds)), check=True, capture_output=True, text=True
    )
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return float(found[1])


@contextmanager
def application(server: Server, database: str, load: Load, rate: float) -> Iterator[Application]:
    """Runs at ``rate`` transactions per second while inside. Call ``stop`` to read its latencies."""
    with tempfile.TemporaryDirectory(prefix="kubesweep-bench-") as folder:
        log = Path(folder) / "log"
        command = _command(server, database, load, "-T", str(LONGEST), "-R", f"{rate:.0f}", "-l", f"--log-prefix={log}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield Application(process, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _command(server: Server, database: str, load: Load, *more: str) -> list[str]:
    sizes = (f"-Drows={load.rows}", f"-Devery={load.every}", "-c", str(load.clients))
    return [
        server.program("pgbench"),
        "-n",
        "-M",
        "prepared",
        "-f",
        str(SCRIPT),
        *sizes,
        *more,
        server.url(database),
    ]


def latencies(lines: Iterable[str], began: float, ended: float) -> Latencies:
    """Reads lines of the log of pgbench."""
    entries = map(_due_and_took, lines)
    found = sorted(took for due, took in entries if began <= due < ended)
    if not found:
        raise RuntimeError("the application did nothing in the meantime: take a larger table or a higher rate")
    return Latencies(len(found) / (ended - began), percentile(found, 0.5), percentile(found, 0.99), found[-1])


def _due_and_took(line: str) -> tuple[float, float]:
    """Seconds since 1970, and milliseconds. A line is client, transaction, microseconds, script, and the time of its end in seconds and
    microseconds."""
    _, _, took, _, seconds, micros = line.split()[:6]
    return int(seconds) + (int(micros) - int(took)) / 1e6, int(took) / 1000


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1]
