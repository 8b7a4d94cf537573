"""The command line with a queue server: real processes that share it, lose it, and reconnect."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.command_line import CommandLine, equation, next_commands, read_until
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
        raise ValueError("no answer")
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


class ServerCommandLine(CommandLine):
    """A command line with a queue server and rows in Postgres. No handler returns before :meth:`let_go`."""

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
        """By process: the rows whose effect it ran, with their keys."""
        files = sorted(self.folder.glob("did-*"))
        return {file.name: [tuple(line.split()) for line in file.read_text().splitlines()] for file in files}  # type: ignore[misc]

    def keys_by_row(self) -> dict[str, set[str]]:
        """By row: the idempotency keys of its effect."""
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
def cli(tmp_path: Path, database: str, server: Server) -> ServerCommandLine:
    return ServerCommandLine(tmp_path, database, server)


def until_a_handler_runs(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        read_until(process.stderr, "handler entered")


def terminate(*processes: subprocess.Popen[str]) -> None:
    """End each of them with SIGTERM, cleanly."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        _, errors = process.communicate(timeout=scaled(60))
        assert (process.returncode, "Traceback" in errors) == (0, False), errors


@pytest.mark.parametrize("kind", sorted(binaries()))
def test_a_run_and_two_workers_share_one_sweep(kind: str, tmp_path: Path, database: str) -> None:
    server = Server(kind).start()
    cli = ServerCommandLine(tmp_path, database, server)
    workers = [cli.serve("worker"), cli.serve("worker")]
    run = cli.serve("run", "--once")
    until_a_handler_runs(run, *workers)
    cli.let_go()
    output, errors = run.communicate(timeout=scaled(60))
    assert run.returncode == 0, errors
    assert equation(output) == (ROWS, ROWS, 0, 0, 0)
    terminate(*workers)
    done = [len(rows) for rows in cli.effects().values()]
    assert (len(done), sum(done), cli.rows()) == (3, ROWS, (ROWS, ROWS))
    server.remove()


def test_a_worker_returns_its_jobs_on_sigterm_and_nothing_waits_for_a_lease(cli: ServerCommandLine) -> None:
    cli.run("trigger", "-f", str(cli.file))
    worker = cli.serve("worker")
    until_a_handler_runs(worker)
    worker.send_signal(signal.SIGTERM)
    printed = read_until(worker.stderr, "finishing the rows in progress")
    cli.let_go()
    _, errors = worker.communicate(timeout=scaled(60))
    assert worker.returncode == 0, errors
    queue = cli.status()["queue"]
    assert isinstance(queue, dict)
    in_flight = 1 + (printed + errors).count("handler entered")
    assert 1 <= in_flight <= 4  # of two jobs with two rows each: no row begins after the signal
    assert (queue["running"], cli.rows()) == (0, (in_flight, in_flight))
    assert equation(cli.run("run", "--once", "-f", str(cli.file)).stdout) == (ROWS, ROWS, 0, 0, 0)
    assert (cli.rows(), len(cli.keys_by_row())) == ((ROWS, ROWS), ROWS)
    assert sum(len(rows) for rows in cli.effects().values()) == ROWS


def test_a_sweep_that_a_flush_lost_is_recovered_by_a_run(cli: ServerCommandLine) -> None:
    worker, run = cli.serve("worker"), cli.serve("run")
    cli.run("trigger", "-f", str(cli.file))
    until_a_handler_runs(run, worker)
    read_until(run.stdout, "items: Running")
    with cli.server.client() as client:
        client.flushall()
    read_until(run.stdout, "items: Lost")
    read_until(run.stdout, "items: Planning")
    cli.let_go()
    read_until(run.stdout, "items: Completed")
    stats = cli.status()
    terminate(run, worker)
    sweep, ticks, queue = stats["lastSweep"], stats["ticks"], stats["queue"]
    assert isinstance(sweep, dict)
    assert isinstance(queue, dict)
    settled = sweep["applied"] + sweep["skipped"] + sweep["unconfirmed"]
    assert (sweep["state"], sweep["planned"], sweep["retrying"], queue["dead"]) == ("Completed", settled, 0, 0)
    assert (cli.rows(), ticks["enqueued"]) == ((ROWS, ROWS), 1)  # type: ignore[index]
    assert {len(keys) for keys in cli.keys_by_row().values()} == {1}
    assert len(cli.keys_by_row()) == ROWS


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "empty"])
def test_a_run_waits_for_a_queue_that_restarts(keeps: bool, cli: ServerCommandLine) -> None:
    if not keeps:
        with cli.server.client() as client:
            client.config_set("appendonly", "no")
    worker, run = cli.serve("worker"), cli.serve("run", "--once")
    until_a_handler_runs(run, worker)
    cli.server.kill()
    printed = read_until(run.stderr, "The queue cannot be reached, trying again")
    assert "Traceback" not in printed
    read_until(run.stdout, "as it was when the queue last answered")
    cli.server.start(*([] if keeps else ["--appendonly", "no"]))
    read_until(run.stderr, "The queue answers again")
    if not keeps:
        read_until(run.stderr, "items: Lost")
    cli.let_go()
    output, errors = run.communicate(timeout=scaled(60))
    assert run.returncode == 0, errors
    terminate(worker)
    planned, applied, skipped, retrying, dead = equation(output)
    assert (planned, retrying, dead, cli.rows()) == (applied + skipped, 0, 0, (ROWS, ROWS))
    assert not keeps or (planned, skipped) == (ROWS, 0)
    assert {len(keys) for keys in cli.keys_by_row().values()} == {1}


def test_a_refused_password_ends_each_command_with_3_and_one_sentence(tmp_path: Path, database: str) -> None:
    server = Server("valkey", requirepass="geheim")
    server.login = {"password": "geheim"}
    server.start()
    cli = ServerCommandLine(tmp_path, database, server)
    wrong, none = server.url.replace("//", "//:falsch@"), server.url
    file = ("-f", str(cli.file))
    for url, sentence in ((wrong, "the server refused the user or password"), (none, "the server requires a password")):
        for command in (("run", *file), ("worker", *file), ("trigger", *file), ("status",), ("dead", "list")):
            printed = cli.run(*command, "--queue", url, code=3).stderr
            assert printed.startswith("error: queue redis://127.0.0.1"), printed
            assert sentence in printed
            assert (printed.count("\n"), "falsch" in printed) == (1, False)
    server.remove()


def test_the_other_commands_work_and_print_no_password(tmp_path: Path, database: str) -> None:
    server = Server("valkey", requirepass="geheim")
    server.login = {"password": "geheim"}
    server.start()
    cli = ServerCommandLine(tmp_path, database, server)
    cli.environ["KUBESWEEP_QUEUE"] = url = server.url.replace("//", "//:geheim@")
    cli.limited("approveAbove: {rows: 5}")
    cli.let_go()
    (cli.folder / "bad").touch()
    outputs, bad = [], ROWS // 10

    def copied(printed: str, word: str) -> str:
        """Run the printed command that has ``word``."""
        command = next(command for command in next_commands(printed) if word in command)
        done = cli.shell(command)
        assert done.returncode in (0, 1), done.stderr
        outputs.append(done.stdout + done.stderr)
        return done.stdout

    assert "has no schedule yet" in cli.run("status").stdout
    triggered = cli.run("trigger", "-f", str(cli.file), "--queue", url).stdout
    waiting = copied(triggered, " run --once")
    assert "AwaitingApproval" in waiting
    approved = copied(waiting, " approve ")
    dead = copied(approved, " run --once")
    assert equation(dead) == (ROWS, ROWS - bad, 0, 0, bad)
    listed = copied(dead, " dead list")
    assert "ValueError" in listed
    (cli.folder / "bad").unlink()
    retried = copied(listed, " dead retry")
    assert f"{bad} rows will be tried again" in retried
    cli.limited("maxRowsPerSweep: 1000")
    assert copied(retried, " run --once").count("Completed") >= 1
    assert "No dead letters" in cli.run("dead", "list").stdout
    assert cli.rows() == (ROWS, ROWS)
    assert "is enqueued" in cli.run("trigger", "items").stdout
    assert "geheim" not in "".join((triggered, *outputs))
    server.remove()
