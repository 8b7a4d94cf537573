"""python -m shop makejobs --count N creates jobs of every state and several ages. python -m shop clean runs procrastinate's own clean-up."""

from __future__ import annotations

import argparse
import asyncio
import logging

from procrastinate.tasks import Task

from shop import app, nightly, refuse, report, send

AGES = (0, 71, 73, 24 * 30)  # hours since the latest event; the clean-up removes jobs older than 72
UNFINISHED = 8

# procrastinate cannot create past events. These statements move each job's events and each worker's heartbeat back in time; a quarter of the jobs gets each age.
MOVE_EVENTS = "UPDATE procrastinate_events SET at = at - make_interval(hours => (%(ages)s::int[])[1 + mod(job_id, 4)])"
MOVE_HEARTBEATS = (
    "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - make_interval(hours => 2 * mod(id, 2)::int)"
)


async def defer(task: Task, count: int) -> list[int]:
    return await task.batch_defer_async(*({"number": number} for number in range(count)))


async def makejobs(count: int) -> None:
    for task, jobs in ((send, count // 2), (refuse, count // 4), (report, count // 4)):
        await defer(task, jobs)
    for timestamp in range(UNFINISHED):
        job = nightly.configure(task_kwargs={"timestamp": timestamp}).job
        await app.job_manager.defer_periodic_job(job=job, periodic_id=str(timestamp), defer_timestamp=timestamp)
    await app.run_worker_async(wait=False, concurrency=20, install_signal_handlers=False)
    for job in await defer(send, count // 4):
        await app.job_manager.cancel_job_by_id_async(job)
    await defer(report, UNFINISHED)
    for _ in range(UNFINISHED):  # workers that crashed with a job
        worker = await app.job_manager.register_worker()
        await app.job_manager.fetch_job(queues=["reports"], worker_id=worker)
    await defer(send, UNFINISHED)
    await app.connector.execute_query_async(MOVE_EVENTS, ages=list(AGES))
    await app.connector.execute_query_async(MOVE_HEARTBEATS)


async def clean() -> None:
    await app.job_manager.delete_old_jobs(nb_hours=72, include_cancelled=True, include_aborted=True)
    await app.job_manager.prune_stalled_workers(seconds_since_heartbeat=3600)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shop", description=__doc__)
    parser.add_argument("command", choices=["makejobs", "clean"])
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)  # the failures of jobs are intended
    async with app.open_async():
        await (clean() if given.command == "clean" else makejobs(given.count))


if __name__ == "__main__":
    asyncio.run(main())
