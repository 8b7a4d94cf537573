"""Three DAGs of four tasks each. ``yearly`` has not run for a month."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

for name in ("hourly", "daily", "yearly"):
    with DAG(name, schedule=None, catchup=False):
        (
            EmptyOperator(task_id="extract")
            >> [EmptyOperator(task_id="clean"), EmptyOperator(task_id="join")]
            >> EmptyOperator(task_id="report")
        )
