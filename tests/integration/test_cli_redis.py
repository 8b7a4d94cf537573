"""The command line on a queue that is a server: real processes that share it, lose it, and find it again."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.cli_desk import Desk, equation, next_commands, read_until
from tests.kits.deadlines import scaled
from tests.kits.servers import Server, binaries

ROWS = 300
TABLE = """
CREATE TABLE items (id integer PRIMARY KEY, state text NOT NULL);
INSERT INTO items SELECT g, 'old' FROM generate_series(1, @ROWS@) g;
CREATE TABLE written (id integer NOT NULL);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION audit();
"""
HANDLER = """
import asyncio, os, sys
from pathlib import Path

HERE = Path(__file__).parent

async def note(row, ctx):
    print("handler entered", file=sys.stderr, flush=True)
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    if (HERE / "bad").exists() and row["id"] % 10 == 0:
        raise ValueError("nobody answers")
    with (HERE / f"did-{os.getpid()}").open("a") as file:
        file.write(f"{row['id']} {ctx.idempotency_key}\\n")
"""
SWEEP = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: items}
spec:
  schedule: "@yearly"
  source: {urlFrom: {secretKeyRef: {name: db, key: url}}, table: items}
  match: [{column: state, in: [old]}]
  effect: {concurrency: 2, handler: "redis_handler:note", timeout: 4m}
  write: {update: [{column: state, value: new}]}
  limits: {batchRows: 10}
  retry: {maxAttempts: 1}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {url: "@URL@"}
"""


class Place(Desk):
    """A desk whose queue is a server and whose rows are in Postgres; no handler returns before :meth:`let_go`."""

    def __init__(self, folder: Path, database: str, server: Server) -> None:
        super().__init__(folder)
        self.database, self.server = database, server
        self.environ["KUBESWEEP_QUEUE"] = server.url
        self.file = folder / "items.yaml"
        self.file.write_text(SWEEP.replace("@URL@", database))
        (folder / "redis_handler.py").write_text(HANDLER)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(TABLE.replace("@ROWS@", str(ROWS)).encode())

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def serve(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        return self.start(command, "-f", str(self.file), *arguments)

    def limited(self, limit: str) -> None:
        self.file.write_text(self.file.read_text().replace("batchRows: 10", f"batchRows: 10, {limit}"))

    def effects(self) -> dict[str, list[tuple[str, str]]]:
        """By process: the rows that it did, with their keys."""
        files = sorted(self.folder.glob("did-*"))
        return {file.name: [tuple(line.split()) for line in file.read_text().splitlines()] for file in files}  # type: ignore[misc]

    def told(self) -> dict[str, set[str]]:
        """By row: the keys that its effect was told under."""
        found: dict[str, set[str]] = defaultdict(set)
        for done in self.effects().values():
            for row, key in done:
                found[row].add(key)
        return found

    def rows(self) -> tuple[int, int]:
        """How many rows are new, and how many writes there were."""
        with psycopg.connect(self.database) as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM items WHERE state = 'new'), (SELECT count(*) FROM written)"
            ).fetchone()
        assert found is not None
        return found

    def status(self) -> dict[str, object]:
        (one,) = json.loads(self.run("status", "-o", "json").stdout)
        return dict(one)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("valkey", appendonly="yes", appendfsync="everysec").start()
    yield made
    made.remove()


@pytest.fixture
def place(tmp_path: Path, database: str, server: Server) -> Place:
    return Place(tmp_path, database, server)


def until_a_row_is_in_hand(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        read_until(process.stderr, "handler entered")


def dismissed(*processes: subprocess.Popen[str]) -> None:
    """SIGTERM ends each of them cleanly."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        _, errors = process.communicate(timeout=scaled(60))
        assert (process.returncode, "Traceback" in errors) == (0, False), errors


@pytest.mark.parametrize("kind", sorted(binaries()))
def test_a_run_and_two_workers_share_one_sweep(kind: str, tmp_path: Path, database: str) -> None:
    server = Server(kind).start()
    place = Place(tmp_path, database, server)
    workers = [place.serve("worker"), place.serve("worker")]
    run = place.serve("run", "--once")
    until_a_row_is_in_hand(run, *workers)
    place.let_go()
    output, errors = run.communicate(timeout=scaled(60))
    assert run.returncode == 0, errors
    assert equation(output) == (ROWS, ROWS, 0, 0, 0)
    dismissed(*workers)
    done = [len(rows) for rows in place.effects().values()]
    assert (len(done), sum(done), place.rows()) == (3, ROWS, (ROWS, ROWS))
    server.remove()


def test_a_worker_that_gets_sigterm_gives_back_what_it_holds_and_nothing_waits_for_a_lease(place: Place) -> None:
    place.run("trigger", "-f", str(place.file))
    worker = place.serve("worker")
    until_a_row_is_in_hand(worker)
    worker.send_signal(signal.SIGTERM)
    said = read_until(worker.stderr, "finishing the rows in hand")
    place.let_go()
    _, errors = worker.communicate(timeout=scaled(60))
    assert worker.returncode == 0, errors
    status = place.status()
    in_the_air = 1 + (said + errors).count("handler entered")
    assert 1 <= in_the_air <= 4  # of two jobs with two rows each: no row begins after the signal
    assert (status["running"], place.rows()) == (0, (in_the_air, in_the_air))
    assert equation(place.run("run", "--once", "-f", str(place.file)).stdout) == (ROWS, ROWS, 0, 0, 0)
    assert (place.rows(), len(place.told())) == ((ROWS, ROWS), ROWS)
    assert sum(len(rows) for rows in place.effects().values()) == ROWS


def test_a_flush_in_the_middle_is_lost_and_a_run_heals_it(place: Place) -> None:
    worker, run = place.serve("worker"), place.serve("run")
    place.run("trigger", "-f", str(place.file))
    until_a_row_is_in_hand(run, worker)
    read_until(run.stdout, "items: Running")
    with place.server.client() as client:
        client.flushall()
    read_until(run.stdout, "items: Lost")
    read_until(run.stdout, "items: Planning")
    place.let_go()
    read_until(run.stdout, "items: Completed")
    stats = place.status()
    dismissed(run, worker)
    sweep, ticks = stats["sweep"], stats["ticks"]
    assert isinstance(sweep, dict)
    settled = sweep["applied"] + sweep["skipped"] + sweep["unconfirmed"]
    assert (sweep["state"], sweep["planned"], sweep["retrying"], stats["dead"]) == ("Completed", settled, 0, 0)
    assert (place.rows(), ticks["enqueued"]) == ((ROWS, ROWS), 1)  # type: ignore[index]
    assert {len(keys) for keys in place.told().values()} == {1}
    assert len(place.told()) == ROWS


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "empty"])
def test_a_queue_that_goes_away_and_comes_back_is_waited_for(keeps: bool, place: Place) -> None:
    if not keeps:
        with place.server.client() as client:
            client.config_set("appendonly", "no")
    worker, run = place.serve("worker"), place.serve("run", "--once")
    until_a_row_is_in_hand(run, worker)
    place.server.kill()
    said = read_until(run.stderr, "The queue cannot be reached, trying again")
    assert "Traceback" not in said
    read_until(run.stdout, "as it was when the queue was last seen")
    place.server.start(*([] if keeps else ["--appendonly", "no"]))
    read_until(run.stderr, "The queue is back")
    if not keeps:
        read_until(run.stderr, "items: Lost")
    place.let_go()
    output, errors = run.communicate(timeout=scaled(60))
    assert run.returncode == 0, errors
    dismissed(worker)
    planned, applied, skipped, held, dead = equation(output)
    assert (planned, held, dead, place.rows()) == (applied + skipped, 0, 0, (ROWS, ROWS))
    assert not keeps or (planned, skipped) == (ROWS, 0)
    assert {len(keys) for keys in place.told().values()} == {1}


def test_a_refused_password_ends_each_command_with_3_and_one_sentence(tmp_path: Path, database: str) -> None:
    server = Server("valkey", requirepass="geheim")
    server.login = {"password": "geheim"}
    server.start()
    place = Place(tmp_path, database, server)
    wrong, none = server.url.replace("//", "//:falsch@"), server.url
    file = ("-f", str(place.file))
    for url, sentence in ((wrong, "the server refused the user or password"), (none, "the server requires a password")):
        for command in (("run", *file), ("worker", *file), ("trigger", *file), ("status",), ("dead", "list")):
            said = place.run(*command, "--queue", url, code=3).stderr
            assert said.startswith("error: queue redis://127.0.0.1"), said
            assert sentence in said
            assert (said.count("\n"), "falsch" in said) == (1, False)
    server.remove()


def test_the_other_commands_work_and_their_advice_keeps_the_password_to_itself(tmp_path: Path, database: str) -> None:
    server = Server("valkey", requirepass="geheim")
    server.login = {"password": "geheim"}
    server.start()
    place = Place(tmp_path, database, server)
    place.environ["KUBESWEEP_QUEUE"] = url = server.url.replace("//", "//:geheim@")
    place.limited("approveAbove: {rows: 5}")
    place.let_go()
    (place.folder / "bad").touch()
    said, bad = [], ROWS // 10

    def copied(printed: str, word: str) -> str:
        """Run the command with ``word`` that was printed, as it was printed, for the file of this test."""
        command = next(command for command in next_commands(printed) if word in command)
        done = place.shell(command.replace("-f FILE", f"-f {place.file}"))
        assert done.returncode in (0, 1), done.stderr
        said.append(done.stdout + done.stderr)
        return done.stdout

    assert "knows no schedule yet" in place.run("status").stdout
    triggered = place.run("trigger", "-f", str(place.file), "--queue", url).stdout
    held = copied(triggered, " run --once")
    assert "AwaitingApproval" in held
    approved = copied(held, " approve ")
    dead = copied(approved, " run --once")
    assert equation(dead) == (ROWS, ROWS - bad, 0, 0, bad)
    listed = copied(dead, " dead list")
    assert "ValueError" in listed
    (place.folder / "bad").unlink()
    retried = copied(listed, " dead retry")
    assert f"{bad} rows will be tried again" in retried
    place.limited("maxRowsPerSweep: 1000")
    assert copied(retried, " run --once").count("Completed") >= 1
    assert "No dead letters" in place.run("dead", "list").stdout
    assert place.rows() == (ROWS, ROWS)
    assert "is enqueued" in place.run("trigger", "items").stdout
    assert "geheim" not in "".join((triggered, *said))
    server.remove()
