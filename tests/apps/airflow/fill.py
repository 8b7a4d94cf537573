"""Runs, task instances and all that refers to them, on either side of 30 days, through Airflow's own models and scheduler code."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from airflow.jobs.job import Job
from airflow.models.dag_version import DagVersion
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from airflow.sdk import timezone
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select, update

NOW = timezone.utcnow()
BEFORE, AFTER = (
    timedelta(days=30, hours=1),
    timedelta(days=29, hours=23),
)  # the clean-up removes what is older than 30 days
OLD = (timedelta(days=90), timedelta(days=60), BEFORE)
AGES = {
    "hourly": (*OLD, AFTER, timedelta(days=2), timedelta(hours=1)),
    "daily": (*OLD, timedelta(days=10)),
    "yearly": OLD,
}
TYPES = itertools.cycle((DagRunType.SCHEDULED, DagRunType.MANUAL, DagRunType.BACKFILL_JOB))
numbers = itertools.count()


def run(session: Any, name: str, age: timedelta, start: bool = True) -> None:
    began = NOW - age - timedelta(seconds=next(numbers))
    kind = next(TYPES)
    dag_run = (
        DBDagBag()
        .get_latest_version_of_dag(name, session=session)
        .create_dagrun(
            run_id=f"{kind.value}__{next(numbers)}",
            logical_date=began,
            data_interval=(began, began),
            run_after=began,
            run_type=kind,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.SUCCESS if start else DagRunState.QUEUED,
            start_date=began if start else None,
            session=session,
        )
    )
    dag_run.note = "a note"
    session.flush()
    for task in dag_run.get_task_instances(session=session):
        task_instance(session, dag_run, task, began)
    if kind is not DagRunType.BACKFILL_JOB:
        callback = AsyncCallback("reports.late", kwargs={})
        session.add(Deadline(began + timedelta(hours=3), callback, dag_run.id, None, dag_id=name))


def task_instance(session: Any, dag_run: DagRun, task: TaskInstance, began: datetime) -> None:
    """``clean`` was retried, ``join`` ran again today, ``report`` waits for a trigger and has no start."""
    task.state, task.start_date, task.try_number = TaskInstanceState.SUCCESS, began, 1
    if task.task_id == "clean":
        session.flush()
        task.prepare_db_for_next_try(session)
        task.start_date = began
    elif task.dag_id == "yearly":
        pass  # all of its task instances are old, so that nothing refers to its first version
    elif task.task_id == "join":
        task.start_date = NOW - timedelta(minutes=1)
    elif task.task_id == "report":
        task.state, task.start_date = TaskInstanceState.DEFERRED, None
        age = BEFORE if next(numbers) % 2 else AFTER
        task.trigger = Trigger("airflow.triggers.testing.SuccessTrigger", {}, NOW - age)
    task.note = "another note"
    session.add(RenderedTaskInstanceFields(task, render_templates=False, rendered_fields={"bash_command": "true"}))
    session.flush()
    named = {"dag_id": task.dag_id, "run_id": task.run_id, "task_id": task.task_id}
    for key in ("old", "new"):
        XComModel.set(key, {"rows": 3}, **named, session=session)
    aged = update(XComModel).filter_by(**named, key="old").values(timestamp=NOW - BEFORE)
    session.execute(aged)
    for expires_at in (None, NOW - BEFORE, NOW - AFTER):
        key = f"state {next(numbers)}"
        session.add(TaskStateStoreModel(dag_run_id=dag_run.id, **named, key=key, value="1", expires_at=expires_at))


def versions(session: Any, name: str) -> None:
    """The first version, which all runs have, and later ones that no task refers to."""
    for _ in range(2):
        DagVersion.write_dag(dag_id=name, bundle_name="dags-folder", session=session)
        session.flush()
    ages = {1: timedelta(days=100), 2: timedelta(days=31), 3: BEFORE if name == "yearly" else AFTER}
    for version in session.scalars(select(DagVersion).filter_by(dag_id=name)):
        version.created_at = NOW - ages[version.version_number]


def main() -> None:
    with create_session() as session:
        for name, ages in AGES.items():
            for age in ages:
                run(session, name, age)
                run(session, name, age)
            run(session, name, timedelta(days=40), start=False)
            versions(session, name)
        for age in (*OLD, AFTER, timedelta(0)):
            job = Job(job_type="SchedulerJob")
            job.latest_heartbeat = NOW - age
            entry = Log("trigger", owner="ana")
            entry.dttm = NOW - age
            session.add_all([job, entry, Trigger("airflow.triggers.testing.SuccessTrigger", {}, NOW - age)])


if __name__ == "__main__":
    main()
