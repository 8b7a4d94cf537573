"""``kubesweep-worker work`` when something is wrong: each problem is a finding with the fix, spends no attempt, and ends by
itself once its cause is fixed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from aiohttp import web

from kubesweep.api.plan import Effect, Webhook
from kubesweep.queue.model import SweepState
from tests.integration.pod import ROWS, Pod, make_carts, pod_plan, statuses
from tests.integration.pod_logs import PAUSES, ended, idle, said
from tests.integration.postgres import LOCKED_ROLE
from tests.integration.postgres import Server as Postgres
from tests.integration.receivers import receiver
from tests.kits.servers import Server, until

FINISHED = "sweep finished"


HANDLER = """
import logging
import sys
from pathlib import Path

async def note(row, ctx):
    logging.getLogger("shop.mail").info("notified %s", row["id"])

async def hang(row, ctx):
    import asyncio
    ctx.log.warning("hangs")
    await asyncio.sleep(3600)
"""


@pytest.fixture
async def make_pod(tmp_path: Path, server: Server) -> AsyncIterator[Callable[..., Pod]]:
    made: list[Pod] = []

    def make(**changes: Any) -> Pod:
        made.append(Pod(tmp_path / "pod", server, pod_plan(**changes)))
        return made[-1]

    yield make
    for pod in made:
        await pod.close()


async def all_new(pod: Pod, url: str) -> None:
    stats = await pod.stats()
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.dead) == (SweepState.COMPLETED, ROWS, 0)
    assert statuses(url) == {"new": ROWS}


async def test_a_secret_that_comes_later_is_waited_for(make_pod: Any, database: str) -> None:
    make_carts(database)
    pod = make_pod()
    await pod.open()
    worker = pod.start()
    # The first pause is the job's, the second the probe's, which has reported by then.
    for _ in range(2):
        await said(worker, PAUSES, reason="UrlMissing")
    finding = await pod.finding("SourceReady")
    assert (finding.ok, finding.reason) == (False, "UrlMissing")
    assert 'the Secret "support-db" in namespace "shop" does not exist, or its key "url" is missing' in finding.message
    pod.database.show(url="  \n")
    await said(worker, PAUSES, reason="UrlMissing")
    pod.database.show(url=f"{database}\n")
    await said(worker, FINISHED)
    await all_new(pod, database)
    assert (await pod.finding("SourceReady")).ok
    await ended(worker)


@pytest.mark.usefixtures("locked_role")
async def test_a_rotated_password_is_used_from_the_next_transaction_on(
    make_pod: Any, database: str, postgres_server: Postgres
) -> None:
    make_carts(database)
    pod = make_pod()
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with psycopg.connect(database, autocommit=True) as root:
        root.execute(f"CREATE ROLE {LOCKED_ROLE} LOGIN SUPERUSER PASSWORD 'old'".encode())
        pod.database.show(url=postgres_server.url(name, LOCKED_ROLE, "old"))
        await pod.open()
        worker = pod.start()
        await said(worker, FINISHED)
        root.execute(f"ALTER ROLE {LOCKED_ROLE} PASSWORD 'new'".encode())
        root.execute("UPDATE carts SET status = 'old'")
        pod.database.show(url=postgres_server.url(name, LOCKED_ROLE, "new"))
        root.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (LOCKED_ROLE,)
        ).fetchall()
        assert "a sweep begins" in pod.run("tick")[0]["message"]
        await said(worker, FINISHED)
    await all_new(pod, database)
    await ended(worker)


async def test_headers_that_come_later_cost_no_attempt_and_rotated_ones_are_sent(make_pod: Any, database: str) -> None:
    make_carts(database)
    seen: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        seen.add(request.headers.get("X-Token", ""))
        return web.Response(status=204)

    async with receiver(answer) as url:
        hook = Webhook(url, headers_secret="hook-headers")
        pod = make_pod(effect=Effect(columns=("id",), webhook=hook))
        pod.database.show(url=database)
        await pod.check()
        await pod.open()
        worker = pod.start()
        for _ in range(2):
            await said(worker, PAUSES, reason="HeadersMissing")
        finding = await pod.finding("Effect")
        assert (finding.ok, finding.reason) == (False, "HeadersMissing")
        assert 'the Secret "hook-headers" in namespace "shop"' in finding.message
        assert seen == set()
        pod.headers.show(**{"X-Token": "one\n"})
        await said(worker, FINISHED)
        await all_new(pod, database)
        assert seen == {"one"}
        pod.headers.show(**{"X-Token": "two"})
        with psycopg.connect(database, autocommit=True) as root:
            root.execute("UPDATE carts SET status = 'old'")
        pod.run("tick")
        await said(worker, FINISHED)
        assert seen == {"one", "two"}
        await ended(worker)
    assert (await pod.finding("Effect")).ok
    assert await pod.dead() == ()


def refused(server: Server, user: str) -> bool:
    with server.client(username="root", password="root") as root:
        return any((entry["reason"], entry["username"]) == ("auth", user) for entry in root.acl_log())


async def test_a_password_of_the_queue_that_is_late_or_wrong_is_waited_for(
    make_pod: Any, database: str, server: Server
) -> None:
    make_carts(database)
    pod = make_pod()
    await pod.open()
    pod.database.show(url=database)
    with server.client() as root:
        root.acl_setuser("worker", enabled=True, passwords=["+right"], keys=["*"], categories=["+@all"])
        root.acl_setuser("root", enabled=True, passwords=["+root"], keys=["*"], categories=["+@all"])
        root.acl_setuser("default", enabled=False, reset_passwords=True)
    file = pod.login.folder / "password"
    worker = pod.start("work", {"KUBESWEEP_QUEUE": f"{server.url.replace('//', '//worker@')}?password_file={file}"})
    entry = await said(worker, "the queue is unavailable", reason="QueueAuth")
    assert f"password_file {file} cannot be read" in entry["message"]
    pod.login.show(password="wrong")
    await asyncio.to_thread(until, lambda: refused(server, "worker"))
    pod.login.show(password="right")
    await said(worker, "the queue responds again")
    await said(worker, FINISHED)
    assert statuses(database) == {"new": ROWS}
    await ended(worker)


async def test_a_handler_is_found_in_the_working_directory_and_its_logs_are_json(make_pod: Any, database: str) -> None:
    make_carts(database)
    pod = make_pod(effect=Effect(columns=("id",), handler="pod_handler:note"))
    (pod.folder / "pod_handler.py").write_text(HANDLER)
    pod.database.show(url=database)
    await pod.open()
    worker = pod.start()
    entry = await said(worker, "notified", logger="shop.mail")
    assert entry["level"] == "info"
    await said(worker, FINISHED)
    await all_new(pod, database)
    await ended(worker)


async def test_a_handler_that_the_image_lacks_is_a_finding_as_long_as_the_image_lacks_it(
    make_pod: Any, database: str
) -> None:
    make_carts(database)
    pod = make_pod(effect=Effect(columns=("id",), handler="pod_handler:note"))
    pod.database.show(url=database)
    await pod.check()
    old = pod.start()
    await said(old, PAUSES, reason="HandlerNotImportable")
    assert not (await pod.finding("Effect")).ok
    assert (await pod.finding("SourceReady")).ok
    (pod.folder / "pod_handler.py").write_text(HANDLER)
    await ended(old)
    assert (await pod.stats()).ready == 1
    new = pod.start()
    await said(new, "working")
    await idle(pod)
    assert (await pod.finding("Effect")).ok
    await ended(new)


async def test_sigterm_releases_its_in_flight_jobs_and_a_second_one_does_so_at_once(
    make_pod: Any, database: str
) -> None:
    make_carts(database)
    pod = make_pod(effect=Effect(columns=("id",), handler="pod_handler:hang", timeout=3600.0))
    (pod.folder / "pod_handler.py").write_text(HANDLER)
    pod.database.show(url=database)
    await pod.open()
    worker = pod.start()
    await said(worker, "hangs")
    worker.send_signal(signal.SIGTERM)
    await said(worker, "draining")
    expected = await ended(worker)
    stats = await pod.stats()
    assert (stats.running, stats.ready, stats.dead) == (0, 4, 0), expected
    assert statuses(database) == {"old": ROWS}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"KUBESWEEP_PLAN": ""}, "KUBESWEEP_PLAN is not set"),
        ({"KUBESWEEP_PLAN": "{"}, "KUBESWEEP_PLAN cannot be read"),
        (
            {"KUBESWEEP_PLAN": msgspec.json.encode({"format": 2}).decode()},
            "of different versions: use the same version for both",
        ),
        ({"KUBESWEEP_PLAN": pod_plan(format=2).to_json()}, "KUBESWEEP_PLAN has format 2, this image reads 1"),
        ({"KUBESWEEP_PLAN": pod_plan().to_json()[:-1] + ',"later":1}'}, "unknown field `later`): the controller and"),
        ({"KUBESWEEP_QUEUE": ""}, "KUBESWEEP_QUEUE is not set"),
        ({"KUBESWEEP_QUEUE": "amqp://:hunter2@queue"}, "no such kind of queue"),
        ({"KUBESWEEP_LOG_LEVEL": "loud"}, "KUBESWEEP_LOG_LEVEL is 'loud'"),
        ({"KUBESWEEP_DATABASE_URL_FILE": ""}, "KUBESWEEP_DATABASE_URL_FILE is not set"),
    ],
)
def test_an_environment_that_only_another_template_fixes_ends_with_2_and_a_sentence(
    environment: dict[str, str], sentence: str, tmp_path: Path, server: Server
) -> None:
    (entry,) = Pod(tmp_path / "pod", server, pod_plan()).run("work", environment, code=2)
    assert entry["level"] == "critical"
    assert sentence in entry["message"]
    assert "hunter2" not in entry["message"]
