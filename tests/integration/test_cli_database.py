"""Local runs with spec.source.connection: the cluster's file with its Secret, and a password that changes during a run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.integration.command_line import CommandLine, equation
from tests.integration.pod import ROWS, statuses
from tests.integration.postgres import LOCKED_ROLE
from tests.integration.postgres import Server as Postgres
from tests.kits.deadlines import scaled
from tests.kits.servers import until

PASSWORD = "p@ss/w:rd %41 'q' \" #?"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def write(cli: CommandLine, postgres_server: Postgres, database: str) -> Callable[..., str]:
    """Writes the schedule's file, with a Secret of these entries; returns its path."""

    def saved(entries: dict[str, str] | None, **connection: Any) -> str:
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        given = {"host": str(postgres_server.folder / "s"), "database": name, **connection}
        spec = {
            "schedule": "@yearly",
            "source": {"table": "carts", "connection": given},
            "match": [{"column": "status", "in": ["old"]}],
            "write": {"update": [{"column": "status", "value": "new"}]},
        }
        head = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "carts"}}
        documents: list[dict[str, Any]] = [{**head, "spec": spec}]
        if entries is not None:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "stringData": entries}
            documents.append(secret)
        file = cli.folder / "sweep.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        return str(file)

    return saved


def test_check_and_run_take_user_and_password_of_a_secret(
    cli: CommandLine, role: Callable[[str], None], write: Callable[..., str], database: str
) -> None:
    role(PASSWORD)
    file = write({"username": LOCKED_ROLE, "password": PASSWORD}, secretRef={"name": "shop-db"})
    assert "40" in cli.run("check", "-f", file).stdout
    done = cli.run("run", "--once", "-f", file)
    assert equation(done.stdout + done.stderr)[:2] == (ROWS, ROWS)
    assert statuses(database) == {"new": ROWS}


@pytest.mark.parametrize("command", [["check"], ["run", "--once"], ["worker"]])
def test_a_password_that_is_refused_names_the_field_and_is_not_shown(
    cli: CommandLine, role: Callable[[str], None], write: Callable[..., str], command: list[str]
) -> None:
    role("right")
    file = write({"username": LOCKED_ROLE, "password": PASSWORD}, secretRef={"name": "shop-db"})
    done = cli.run(*command, "-f", file, code=3)
    assert 'The credentials are spec.source.connection with the Secret "shop-db".' in done.stderr
    assert "AuthenticationFailed" in done.stderr
    assert not [part for part in (PASSWORD, "p@ss", "p%40ss") if part in done.stdout + done.stderr]


def test_a_password_file_that_is_not_there_names_the_field(
    cli: CommandLine, role: Callable[[str], None], write: Callable[..., str]
) -> None:
    role(PASSWORD)
    file = write(None, username=LOCKED_ROLE, passwordFile=str(cli.folder / "token"))
    done = cli.run("check", "-f", file, code=3)
    assert (
        f"UrlMissing: no password: the file {cli.folder / 'token'} (spec.source.connection.passwordFile)" in done.stderr
    )
    assert "write it yourself, or pass --url" in done.stderr


def test_a_password_file_that_is_rewritten_counts_while_a_worker_runs(
    cli: CommandLine, role: Callable[[str], None], write: Callable[..., str], database: str
) -> None:
    token = cli.folder / "token"
    file = write(None, username=LOCKED_ROLE, passwordFile=str(token))
    role("first")
    token.write_text("first\n")
    worker = cli.start("worker", "-f", file)
    for password in ("first", PASSWORD):
        role(password)
        token.write_text(password)
        cli.run("trigger", "-f", file)
        until(lambda: statuses(database) == {"new": ROWS})
    worker.send_signal(signal.SIGTERM)
    out, errors = worker.communicate(timeout=scaled(60))
    assert PASSWORD not in out + errors
    assert worker.returncode == 0, errors
