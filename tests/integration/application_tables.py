"""Tables of applications that many people run, in the shape of their public schemas, with stale rows and others."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parents[2] / "examples"


class Application(NamedTuple):
    """``answers``: the words of each prompt, and what is typed there; empty: Enter takes the default. ``left``: a query for what a sweep
    leaves, and its rows."""

    table: str
    schema: str
    answers: tuple[tuple[str, str], ...]
    file: str
    left: tuple[str, list[tuple[object, ...]]]


CONVERSATIONS = Application(
    table="conversations",
    schema=(EXAMPLES / "conversations" / "schema-session-key.sql").read_text(encoding="utf-8")
    + """
    INSERT INTO conversations (session_key, from_number, status, expires_at)
      SELECT 's' || n, '+49', (ARRAY['pending', 'progress', 'closed'])[1 + n % 3],
             now() + CASE WHEN n <= 60 THEN interval '-1 hour' ELSE interval '1 hour' END
      FROM generate_series(1, 90) AS n;
    """,
    answers=(
        ("Time column", ""),
        ("older than", ""),
        ("Only rows with status in", "pending,progress"),
        ("What happens", ""),
        ("How often", ""),
        ("Name", ""),
        ("Write expire-conversations.yaml", ""),
    ),
    file="expire-conversations.yaml",
    left=(
        "SELECT status, count(*) FROM conversations GROUP BY 1 ORDER BY 1",
        [("closed", 30), ("expired", 40), ("pending", 10), ("progress", 10)],
    ),
)

# Celery's columns have no time zone: they hold the time of the session's TimeZone.
CELERY = Application(
    table="celery_taskmeta",
    schema="""
    CREATE SEQUENCE task_id_sequence;
    CREATE TABLE celery_taskmeta (
      id integer NOT NULL PRIMARY KEY, task_id varchar(155) UNIQUE, status varchar(50), result bytea,
      date_done timestamp without time zone, traceback text, name varchar(155), args bytea, kwargs bytea, worker varchar(155),
      retries integer, queue varchar(155)
    );
    INSERT INTO celery_taskmeta (id, task_id, status, date_done)
      SELECT n, 'task-' || n, CASE WHEN n % 10 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END,
             (now() AT TIME ZONE 'Asia/Kolkata') - CASE WHEN n <= 60 THEN interval '25 hours' ELSE interval '23 hours' END
      FROM generate_series(1, 100) AS n;
    """,
    answers=(
        ("Time column", ""),
        ("older than", "1d"),
        ("Zone", ""),
        ("Only rows with status in", ""),
        ("What happens", ""),
        ("How often", ""),
        ("Name", ""),
        ("Write delete-celery-taskmeta.yaml", ""),
    ),
    file="delete-celery-taskmeta.yaml",
    left=("SELECT count(*), min(id) FROM celery_taskmeta", [(40, 61)]),
)

# As Sequelize creates tables: names in mixed case, an enum with quotes, timestamps of its own, and ON DELETE CASCADE.
SEQUELIZE = Application(
    table="Tokens",
    schema="""
    CREATE TYPE "enum_Tokens_kind" AS ENUM ('login', 'reset', 'api');
    CREATE TABLE "Tokens" (
      "id" uuid NOT NULL PRIMARY KEY, "kind" "enum_Tokens_kind" NOT NULL, "expiresAt" timestamptz,
      "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL
    );
    CREATE TABLE "TokenUses" (
      "id" serial PRIMARY KEY, "address" varchar(255), "TokenId" uuid REFERENCES "Tokens" ("id") ON DELETE CASCADE ON UPDATE CASCADE
    );
    CREATE INDEX ON "TokenUses" ("TokenId");
    INSERT INTO "Tokens"
      SELECT gen_random_uuid(), (ARRAY['login', 'reset', 'api'])[1 + n % 3]::"enum_Tokens_kind",
             CASE WHEN n <= 60 THEN now() - interval '1 day' ELSE now() + interval '1 day' END, now(), now()
      FROM generate_series(1, 90) AS n;
    INSERT INTO "TokenUses" ("address", "TokenId") SELECT '192.0.2.1', "id" FROM "Tokens";
    """,
    answers=(
        ("Time column", ""),
        ("older than", ""),
        ("Only rows with kind in", "login,reset"),
        ("What happens", ""),
        ("Accept", "y"),
        ("How often", ""),
        ("Name", ""),
        ("Write delete-tokens.yaml", ""),
    ),
    file="delete-tokens.yaml",
    left=(
        """SELECT (SELECT count(*) FROM "Tokens"), (SELECT count(*) FROM "Tokens" WHERE kind = 'api'), (SELECT count(*) FROM "TokenUses")""",
        [(50, 30, 50)],
    ),
)

AIRFLOW = Application(
    table="job",
    schema="""
    CREATE TABLE job (
      id serial PRIMARY KEY, dag_id varchar(250), state varchar(20), job_type varchar(30), start_date timestamptz,
      end_date timestamptz, latest_heartbeat timestamptz, executor_class varchar(500), hostname varchar(500), unixname varchar(1000)
    );
    CREATE INDEX job_type_heart ON job (job_type, latest_heartbeat);
    CREATE INDEX idx_job_dag_id ON job (dag_id);
    CREATE INDEX idx_job_state_heartbeat ON job (state, latest_heartbeat);
    INSERT INTO job (state, job_type, latest_heartbeat)
      SELECT CASE WHEN n % 2 = 0 THEN 'success' ELSE 'running' END, 'SchedulerJob', now() - n * interval '1 day'
      FROM generate_series(1, 60) AS n;
    ANALYZE job;
    """,
    answers=(
        ("Time column", ""),
        ("older than", ""),
        ("Only rows with state in", "success"),
        ("What happens", "delete"),
        ("How often", "1h"),
        ("Name", "old-jobs"),
        ("Write old-jobs.yaml", "y"),
    ),
    file="old-jobs.yaml",
    left=("SELECT state, count(*) FROM job GROUP BY 1 ORDER BY 1", [("running", 30), ("success", 14)]),
)

APPLICATIONS = {"conversations": CONVERSATIONS, "celery": CELERY, "sequelize": SEQUELIZE, "airflow": AIRFLOW}

# Django's sessions on SQLite.
SESSIONS = """
CREATE TABLE django_session (
  session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL, expire_date datetime NOT NULL
);
CREATE INDEX django_session_expire_date_a5c62663 ON django_session (expire_date);
INSERT INTO django_session VALUES ('old', 'x', '2020-01-01 00:00:00.000000'), ('young', 'x', '2999-01-01 00:00:00');
"""
