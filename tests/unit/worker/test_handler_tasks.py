from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from kubesweep_worker.effects.handler_tasks import HandlerTasks, Suspended
from tests.kits.deadlines import scaled

turn = contextvars.ContextVar("turn", default="none")


@pytest.fixture
async def tasks() -> AsyncIterator[HandlerTasks]:
    """With a spare task that waits."""
    made = HandlerTasks()
    await call(made, anything())
    await asyncio.sleep(0)
    yield made
    await made.close()


async def call(tasks: HandlerTasks, work: Coroutine[Any, Any, Any]) -> Any:
    result = tasks.start(work, contextvars.copy_context())
    return await result.rest() if isinstance(result, Suspended) else result


async def anything() -> tuple[asyncio.Task[Any] | None]:
    return (asyncio.current_task(),)  # a result that is a task would be awaited


async def suspends() -> tuple[asyncio.Task[Any] | None, asyncio.Task[Any] | None]:
    before = asyncio.current_task()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return before, asyncio.current_task()


async def test_a_handler_that_never_suspends_ends_at_once_and_leaves_the_task_to_the_next(tasks: HandlerTasks) -> None:
    found = {tasks.start(anything(), contextvars.copy_context()) for _ in range(10)}
    assert len(found) == 1
    assert (asyncio.current_task(),) not in found


async def test_a_handler_that_suspends_stays_in_one_task_that_no_other_one_gets(tasks: HandlerTasks) -> None:
    ends = await asyncio.gather(*(call(tasks, suspends()) for _ in range(5)))
    assert all(before is after for before, after in ends)
    assert len({before for before, _ in ends}) == 5
    assert await call(tasks, anything()) not in {(before,) for before, _ in ends}


async def test_a_timeout_that_a_handler_opens_before_it_suspends_ends_the_handler_alone(tasks: HandlerTasks) -> None:
    async def impatient() -> None:
        async with asyncio.timeout(scaled(0)):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await call(tasks, impatient())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("awaits", ["an event", "a turn", "a child", "nothing"])
async def test_a_handler_that_cancels_its_task_ends_no_other_one(tasks: HandlerTasks, awaits: str) -> None:
    ended = []
    child = asyncio.create_task(asyncio.Event().wait())

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            match awaits:
                case "an event":
                    await asyncio.Event().wait()
                case "a turn":
                    await asyncio.sleep(0)
                case "a child":
                    await child
        finally:
            ended.append(asyncio.current_task() is task)

    with pytest.raises(asyncio.CancelledError):
        await call(tasks, cancels_itself())
    assert ended == [True]
    assert child.cancelled() == (awaits == "a child")
    assert await call(tasks, suspends())
    child.cancel()


async def test_a_handler_that_hangs_does_not_slow_down_those_after_it(tasks: HandlerTasks) -> None:
    hanging = tasks.start(asyncio.Event().wait(), contextvars.copy_context())
    await asyncio.sleep(0)
    assert not isinstance(tasks.start(anything(), contextvars.copy_context()), Suspended)
    rest = asyncio.create_task(hanging.rest())
    await asyncio.sleep(0)
    rest.cancel()
    await asyncio.wait({rest})


async def test_a_cancellation_right_after_a_handler_suspended_reaches_it(tasks: HandlerTasks) -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = tasks.start(waits(), contextvars.copy_context())
    task = asyncio.create_task(waiting.rest())
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()


@pytest.mark.parametrize("steps", [0, 2])
async def test_an_exit_inside_a_handler_is_raised_to_its_caller_only(tasks: HandlerTasks, steps: int) -> None:
    async def exits() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await call(tasks, exits())
    assert await call(tasks, suspends())


@pytest.mark.parametrize("steps", [0, 2])
async def test_each_handler_has_the_same_variables_in_all_its_steps_and_in_no_other(
    tasks: HandlerTasks, steps: int
) -> None:
    async def names_itself(name: str) -> str:
        assert turn.get() == "none"
        turn.set(name)
        for _ in range(steps):
            await asyncio.sleep(0)
        return turn.get()

    names = [str(n) for n in range(5)]
    assert await asyncio.gather(*(call(tasks, names_itself(name)) for name in names)) == names
    assert turn.get() == "none"


async def test_a_result_that_can_be_awaited_is_awaited(tasks: HandlerTasks) -> None:
    async def forgets_to_await() -> Coroutine[Any, Any, Any]:
        return suspends()

    before, after = await call(tasks, forgets_to_await())
    assert before is after
