"""Leader election: who takes the Lease, when a leader stops, and what it leaves to the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.kits.deadlines import scaled
from tests.kits.leases import Leases


@asynccontextmanager
async def running(call: Any) -> AsyncIterator[asyncio.Task[str]]:
    task = asyncio.ensure_future(call)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(task: asyncio.Task[str]) -> str:
    return await asyncio.wait_for(task, scaled(60))


@pytest.fixture
def leases() -> Leases:
    return Leases()


async def test_the_first_process_creates_the_lease(leases: Leases) -> None:
    async with leases.election() as election:
        assert await election.acquire() == "1"
    assert leases.calls == ["GET", "POST"]
    spec = leases.spec
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("me", 15, 0)
    assert spec["acquireTime"] == spec["renewTime"]


async def test_of_two_processes_that_create_it_at_once_one_leads(leases: Leases) -> None:
    leases.before_write = lambda: leases.taken_by("other")
    async with leases.election() as election, running(election.acquire()) as task:
        await leases.until_called("GET", 3)
        assert not task.done()
    assert leases.spec["holderIdentity"] == "other"


async def test_a_standby_waits_until_the_lease_was_not_renewed_for_its_duration(leases: Leases) -> None:
    leases.taken_by("other", duration=40)
    async with leases.election() as election, running(election.acquire()) as task:
        await leases.until_called("GET", 2)
        assert not election.is_standby, "nobody was seen to renew it yet"
        leases.now += 39.9
        await leases.until_called("GET", 2)
        leases.write(renewTime="now")
        await leases.until_called("GET", 2)
        assert election.is_standby
        leases.now += 39.9
        await leases.until_called("GET", 2)
        assert leases.spec["holderIdentity"] == "other"
        leases.now += 0.1
        assert await ended(task) == "1"
        assert not election.is_standby
    spec = leases.spec
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("me", 5, 15)
    assert spec["acquireTime"] != "then"


@pytest.mark.parametrize("holder", ["me", ""])
async def test_a_lease_of_this_process_or_of_nobody_is_taken_at_once(leases: Leases, holder: str) -> None:
    leases.taken_by(holder)
    async with leases.election() as election:
        await election.acquire()
    assert leases.calls == ["GET", "PUT"]
    assert leases.spec["holderIdentity"] == "me"
    assert (leases.spec["leaseTransitions"], leases.spec["acquireTime"] == "then") == (
        (4, True) if holder else (5, False)
    )


async def test_a_lease_without_a_duration_is_taken_at_once(leases: Leases) -> None:
    leases.taken_by("other")
    del leases.spec["leaseDurationSeconds"]
    async with leases.election() as election:
        assert await ended(asyncio.ensure_future(election.acquire())) == "1"
    assert leases.calls == ["GET", "PUT"]


async def test_a_lease_of_this_process_gets_a_time_that_somebody_removed(leases: Leases) -> None:
    leases.taken_by("me")
    del leases.spec["acquireTime"]
    async with leases.election() as election:
        await election.acquire()
    assert leases.spec["acquireTime"] == leases.spec["renewTime"]


async def test_a_lease_without_a_spec_is_taken(leases: Leases) -> None:
    leases.write()
    assert leases.lease is not None
    del leases.lease["spec"]
    async with leases.election() as election:
        await election.acquire()
    assert (leases.spec["holderIdentity"], leases.spec["leaseTransitions"]) == ("me", 1)


async def test_a_lease_that_another_process_takes_first_is_not_taken(leases: Leases) -> None:
    leases.taken_by("")
    leases.before_write = lambda: leases.taken_by("other")
    async with leases.election() as election, running(election.acquire()) as task:
        await leases.until_called("GET", 3)
        assert not task.done()
    assert leases.spec["holderIdentity"] == "other"


@pytest.mark.parametrize("refusal", [(503, "ServiceUnavailable"), (403, "Forbidden")])
async def test_a_server_that_refuses_is_asked_again(leases: Leases, refusal: tuple[int, str]) -> None:
    leases.refusal = refusal
    async with leases.election() as election, running(election.acquire()) as task:
        await leases.until_called("GET", 3)
        assert not task.done()
        leases.refusal = None
        assert await ended(task) == "1"


async def test_a_write_that_is_refused_for_another_reason_is_no_lost_race(leases: Leases) -> None:
    leases.taken_by("me")
    async with leases.election() as election:
        await election.acquire()
        async with running(election.renew_until_lost()) as task:
            leases.refusal = (403, "Forbidden")
            await leases.until_called("PUT", 2)
            leases.now += 9.9
            await leases.until_called("PUT", 2)
            assert not task.done()
            leases.now += 0.1
            assert "could not be renewed for 10 s: it is Forbidden" in await ended(task)
    assert leases.calls[2:] == ["PUT"] * len(leases.calls[2:]), "a refusal says nothing about the holder"


async def test_a_leader_renews_and_each_answer_restarts_its_deadline(leases: Leases) -> None:
    async with leases.election() as election:
        await election.acquire()
        acquired = leases.spec["acquireTime"]
        async with running(election.renew_until_lost()) as task:
            for _ in range(3):
                await leases.until_called("PUT", 2)
                leases.refusal = (503, "ServiceUnavailable")
                leases.now += 9.9
                await leases.until_called("PUT", 2)
                leases.refusal = None
            await leases.until_called("PUT", 2)
            assert not task.done()
    spec = leases.spec
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["acquireTime"]) == ("me", 0, acquired)
    assert spec["renewTime"] > acquired


async def test_a_leader_waits_between_two_renewals(leases: Leases) -> None:
    async with leases.election(retry=3600.0) as election, leases.election("other", retry=3600.0) as other:
        await election.acquire()
        async with running(election.renew_until_lost()), running(other.acquire()):
            await leases.until_called("GET", 1)
    assert leases.calls == ["GET", "POST", "GET"]


async def test_the_deadline_begins_with_the_call_that_renewed_and_not_with_its_answer(leases: Leases) -> None:
    async with leases.election() as election:
        await election.acquire()
        async with running(election.renew_until_lost()) as task:

            def answer_late() -> None:
                leases.now += 4.0
                leases.refusal = (503, "ServiceUnavailable")  # from the next call on

            leases.before_write = answer_late
            await leases.until_called("PUT", 3)
            leases.now += 6.0
            assert "could not be renewed" in await ended(task), "a standby counts from the moment of the write"


async def test_a_call_may_take_what_is_left_of_the_deadline(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, timeout = list[float](), asyncio.timeout

    def recorded(seconds: float) -> asyncio.Timeout:
        asked.append(seconds)
        return timeout(seconds)

    async with leases.election() as election:
        await election.acquire()
        leases.refusal = (503, "ServiceUnavailable")
        monkeypatch.setattr(asyncio, "timeout", recorded)
        async with running(election.renew_until_lost()) as task:
            await leases.until_called("PUT", 1)
            leases.now += 4.0
            await leases.until_called("PUT", 2)
            leases.now += 5.95
            await leases.until_called("PUT", 2)
            assert not task.done()
    own = [seconds for seconds in asked if seconds not in (20.0, scaled(60))]  # without the client's and the tests'
    assert list(dict.fromkeys(own)) == [10.0, 6.0, 0.1]


async def test_a_server_that_does_not_answer_ends_the_leadership(leases: Leases) -> None:
    def hang() -> None:
        leases.hangs = True  # from the next call on
        leases.now += 9.95

    async with leases.election() as election:
        await election.acquire()
        leases.before_write = hang
        async with running(election.renew_until_lost()) as task:
            await leases.until_called("PUT", 3)
            assert not task.done()
            leases.now += 0.05
            assert await ended(task) == "it could not be renewed for 10 s: no answer"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda leases: leases.taken_by("other"), "other took it"),
        (lambda leases: leases.taken_by(""), "another process took it"),
        (Leases.delete, "it was deleted"),
        (Leases.create_again, "it was deleted"),
    ],
)
async def test_a_leader_stops_where_the_lease_is_not_its_own_any_more(
    leases: Leases, change: Callable[[Leases], None], why: str
) -> None:
    async with leases.election() as election:
        await election.acquire()
        async with running(election.renew_until_lost()) as task:
            change(leases)
            assert await ended(task) == why
        before = leases.lease
        await election.release()
    assert leases.lease == before, "what is another process's is not released"


async def test_an_edit_of_the_lease_by_somebody_else_does_not_end_the_leadership(leases: Leases) -> None:
    async with leases.election() as election:
        await election.acquire()
        async with running(election.renew_until_lost()) as task:
            leases.write(note="edited")
            await leases.until_called("GET", 1)
            await leases.until_called("PUT", 2)
            assert not task.done()


async def test_a_released_lease_is_taken_by_the_next_process_at_once(leases: Leases) -> None:
    async with leases.election() as election:
        await election.acquire()
        acquired = leases.spec["acquireTime"]
        await election.release()
    spec = leases.spec
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 0)
    assert spec["acquireTime"] == acquired
    async with leases.election("next") as election:
        await election.acquire()
    assert (leases.spec["holderIdentity"], leases.spec["leaseTransitions"]) == ("next", 1)


@pytest.mark.parametrize("refusal", [(503, "ServiceUnavailable"), (403, "Forbidden")])
async def test_a_release_that_fails_raises_nothing(leases: Leases, refusal: tuple[int, str]) -> None:
    async with leases.election() as election:
        await election.release()  # before there is a Lease
        await election.acquire()
        leases.refusal = refusal
        await election.release()
    assert leases.spec["holderIdentity"] == "me"
