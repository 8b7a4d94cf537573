"""``kubesweep-worker tick``: each Job opens at most one sweep, even if its pods restart."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubesweep.queue.model import SweepRequest, SweepState, TickCounts
from tests.integration.pod import Pod, pod_plan
from tests.kits.deadlines import scaled
from tests.kits.proxy import Cut, Proxy
from tests.kits.servers import Server, binaries

MINUTE = 29_400_000
MANUAL = {"KUBESWEEP_JOB_NAME": "carts-tick-by-hand", "KUBESWEEP_JOB_UID": "7b2e"}


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> object:
    made = Server(request.param).start()
    yield made
    made.remove()


@pytest.fixture
async def pod(tmp_path: Path, server: Server) -> AsyncIterator[Pod]:
    made = Pod(tmp_path / "pod", server, pod_plan(mode="DryRun", retention=3600.0))
    yield made
    await made.close()


def nominal(minute: int) -> dict[str, str]:
    return {"KUBESWEEP_JOB_NAME": f"carts-tick-{minute}"}


async def run(pod: Pod, environment: Mapping[str, str] | None = None, code: int = 0) -> list[dict[str, Any]]:
    return await asyncio.to_thread(lambda: pod.run("tick", environment, code))


async def test_the_tick_is_the_minute_at_the_end_of_the_jobs_name(pod: Pod) -> None:
    (entry,) = await run(pod, nominal(MINUTE))
    assert entry["message"] == "tick 2025-11-24T16:00:00+00:00 of shop/carts: a sweep begins"
    stats = await pod.stats()
    assert stats.sweep is not None
    assert (stats.last_tick, stats.sweep.tick, stats.sweep.mode) == (MINUTE * 60.0, MINUTE * 60.0, "DryRun")
    assert (stats.sweep.state, stats.sweep.plan) == (SweepState.PLANNING, pod.plan.version)
    assert (entry["answer"], entry["sweep"], entry["level"]) == ("enqueued", stats.sweep.id, "info")


async def test_a_tick_that_is_far_ahead_of_the_queues_clock_counts_as_now_and_the_line_says_so(pod: Pod) -> None:
    (entry,) = await run(pod, nominal(int(time.time() // 60) + 120))
    assert (entry["answer"], entry["level"]) == ("enqueued", "warning")
    assert re.search(
        r"a sweep begins; the tick is 7,\d{3} s ahead of the queue's clock and counts as now", entry["message"]
    )


async def test_a_tick_that_had_passed_when_the_schedule_was_edited_or_resumed_is_refused(pod: Pod) -> None:
    since = {"KUBESWEEP_TICKS_SINCE": "2025-11-24T16:00:00Z"}
    for minute in (MINUTE - 600, MINUTE):
        (entry,) = await run(pod, nominal(minute) | since)
        assert (entry["answer"], entry["level"]) == ("refused", "warning")
        assert "the schedule applies since 2025-11-24T16:00:00+00:00" in entry["message"]
    assert not (await pod.stats()).known
    (entry,) = await run(pod, nominal(MINUTE + 1) | since)
    assert entry["answer"] == "enqueued"
    (entry,) = await run(pod, nominal(MINUTE + 2) | {"KUBESWEEP_TICKS_SINCE": "noon"}, 2)
    assert "KUBESWEEP_TICKS_SINCE is 'noon'" in entry["message"]


async def test_a_job_that_a_person_made_runs_whenever_the_schedule_was_edited(pod: Pod) -> None:
    (entry,) = await run(pod, MANUAL | {"KUBESWEEP_TICKS_SINCE": "2999-01-01T00:00:00Z"})
    assert entry["answer"] == "enqueued"


async def test_every_answer_of_the_queue_is_a_clean_end_with_one_line(pod: Pod) -> None:
    late = {"KUBESWEEP_STARTING_DEADLINE": "300"}
    said = [
        (await run(pod, environment))
        for environment in (nominal(MINUTE), nominal(MINUTE), nominal(MINUTE + 1), nominal(MINUTE + 2) | late)
    ]
    assert [(entry["answer"], entry["level"]) for (entry,) in said] == [
        ("enqueued", "info"),
        ("duplicate", "info"),
        ("forbidden", "warning"),
        ("late", "warning"),
    ]
    assert (await pod.stats()).ticks == TickCounts(enqueued=1, duplicate=1, forbidden=1, late=1)


async def test_a_job_created_by_a_person_opens_one_sweep_however_often_its_pod_is_started(pod: Pod) -> None:
    before = time.time()
    (first,) = await run(pod, MANUAL)
    (second,) = await run(pod, MANUAL)
    assert (first["answer"], second["answer"], second["sweep"]) == ("enqueued", "duplicate", first["sweep"])
    stats = await pod.stats()
    assert stats.sweep is not None
    assert (stats.ready, stats.sweep.id) == (1, first["sweep"])
    assert before <= stats.sweep.tick <= time.time()


async def test_a_job_created_by_a_person_with_a_number_of_its_own_is_no_tick_of_1970(pod: Pod) -> None:
    (entry,) = await run(pod, MANUAL | nominal(1))
    assert entry["answer"] == "enqueued"


async def test_a_job_created_by_a_person_runs_though_a_later_tick_was_seen(pod: Pod) -> None:
    ahead = time.time() + 200  # as far as clocks may differ; what is further ahead counts as now
    request = SweepRequest(tick=ahead, plan=pod.plan.version, deadline=-400.0)  # late: only its tick is stored
    await pod.queue.open_sweep(pod.plan.ref, request)
    (entry,) = await run(pod, MANUAL)
    assert entry["answer"] == "enqueued"
    assert ((await pod.stats()).last_tick or 0) > ahead


@pytest.mark.parametrize("environment", [nominal(MINUTE), MANUAL], ids=["scheduled", "by hand"])
@pytest.mark.parametrize("step", [("request", 0), ("reply", 0), ("request", 1), ("reply", 1)])
async def test_a_pod_killed_at_any_step_before_it_hears_the_answer_is_started_again_for_the_same_sweep(
    step: tuple[Cut, int], environment: dict[str, str], pod: Pod, server: Server
) -> None:
    async with Proxy(server.port) as proxy:
        proxy.hold = step
        process = pod.start("tick", {**environment, "KUBESWEEP_QUEUE": proxy.url})
        await asyncio.wait_for(proxy.blocked.wait(), scaled(60))
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 60)
    opened = step == ("reply", 1)  # the first one says that the server does not know the script yet
    assert (await pod.stats()).known is opened
    (entry,) = await run(pod, environment)
    assert entry["answer"] == ("duplicate" if opened else "enqueued")
    stats = await pod.stats()
    assert (stats.ready, stats.ticks.enqueued) == (1, 1)


async def test_a_queue_that_is_away_ends_with_3_and_a_sentence(pod: Pod, server: Server) -> None:
    server.kill()
    (entry,) = await run(pod, code=3)
    assert (entry["level"], entry["reason"]) == ("error", "QueueUnreachable")
    assert "cannot be reached" in entry["message"]
    server.start()
    (entry,) = await run(pod)
    assert entry["answer"] == "enqueued"


async def test_a_password_that_is_not_mounted_yet_ends_with_3_and_names_the_file(pod: Pod, server: Server) -> None:
    file = pod.login.folder / "password"
    url = f"{server.url.replace('//', '//default@')}?password_file={file}"
    (entry,) = await run(pod, {"KUBESWEEP_QUEUE": url}, code=3)
    assert (entry["reason"], str(file) in entry["message"]) == ("QueueAuth", True)
    with server.client() as root:
        root.config_set("requirepass", "right")
        server.login = {"password": "right"}
    pod.login.show(password="right\n")
    (entry,) = await run(pod, {"KUBESWEEP_QUEUE": url})
    assert entry["answer"] == "enqueued"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"KUBESWEEP_PLAN": "[]"}, "KUBESWEEP_PLAN cannot be read"),
        ({"KUBESWEEP_JOB_NAME": ""}, "KUBESWEEP_JOB_NAME is not set"),
        ({"KUBESWEEP_JOB_NAME": "by-hand", "KUBESWEEP_JOB_UID": ""}, "KUBESWEEP_JOB_UID is not set"),
        ({"KUBESWEEP_STARTING_DEADLINE": "5m"}, "KUBESWEEP_STARTING_DEADLINE is '5m': write seconds"),
    ],
)
async def test_a_bad_environment_ends_with_2(environment: dict[str, str], sentence: str, pod: Pod) -> None:
    (entry,) = await run(pod, environment, code=2)
    assert sentence in entry["message"]
    assert not (await pod.stats()).known
