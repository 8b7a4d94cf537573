"""Airflow: ten schedules leave and archive the same rows as ``airflow db clean``, across three levels of foreign keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from kubesweep.api.loading.files import load
from tests.apps.comparison import DatabasePair, Rows, libpq, program, rows, run, sweep

APPLICATION = Path(__file__).parent / "airflow"
SWEEPS = APPLICATION / "sweep.yaml"
ARCHIVE = re.compile("_airflow_deleted__(.*)__[0-9]+")


class Airflow:
    def __init__(self, folder: Path) -> None:
        self.settings = {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(APPLICATION / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    def __call__(self, name: str, *arguments: str, url: str) -> None:
        run(program("airflow", name), *arguments, cwd=APPLICATION, **self.settings, **libpq(url))


@pytest.fixture
def airflow(tmp_path: Path) -> Airflow:
    return Airflow(tmp_path)


def make_archive(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA archive")
        for table in {loaded.plan.source.table for loaded in load([SWEEPS], url=url)}:
            names = Identifier("archive", table), Identifier("public", table)
            connection.execute(SQL("CREATE TABLE {} (LIKE {})").format(*names))


def own_rows(url: str) -> Rows:
    """The rows, with Airflow's archive tables renamed as ours, and without the row that the command logs about itself."""
    found = {ARCHIVE.sub(r"archive.\1", table): each for table, each in rows(url).items()}
    return {**found, "log": [line for line in found["log"] if "cli_cleanup_tables" not in line]}


async def test_the_sweeps_leave_and_archive_what_db_clean_does(databases: DatabasePair, airflow: Airflow) -> None:
    airflow("airflow", "db", "migrate", url=databases.swept)
    airflow("airflow", "dags", "reserialize", url=databases.swept)
    airflow("python", "fill.py", url=databases.swept)
    cleaned = databases.copy()

    when = datetime.now(UTC) - timedelta(days=30)
    clean = ("db", "clean", "--yes", "--error-on-cleanup-failure", "--tables", "dag_run,dag_version,job,log,trigger")
    airflow("airflow", *clean, "--clean-before-timestamp", when.isoformat(), url=cleaned)
    make_archive(databases.swept)
    applied = await sweep(SWEEPS, databases.swept)

    lost = databases.compare("Airflow", own_rows)
    new = databases.left.keys() - databases.before.keys()
    archived = {table.removeprefix("archive."): len(databases.left[table]) for table in new}
    assert archived == {name.replace("-", "_"): count for name, count in applied.items()}
    assert all(archived.values()), archived
    by_foreign_keys = lost.keys() - archived.keys()
    assert by_foreign_keys == {
        "dag_code",
        "dag_run_note",
        "rendered_task_instance_fields",
        "serialized_dag",
        "task_instance_note",
    }
