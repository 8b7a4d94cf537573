from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.api.plan import Assignment, Effect, Match, Plan, RetryPolicy, RowLimits, Source, Write
from kubesweep.errors import Outage, SweepFailure
from kubesweep.queue.connect import connect
from kubesweep.queue.model import DeadLetter, ScheduleRef, Stats, SweepRequest, SweepState
from kubesweep_worker.effects.handler import HandlerEffect
from kubesweep_worker.effects.loading import load_handler
from kubesweep_worker.runtime.build import build_worker
from kubesweep_worker.settings import WorkerSettings
from tests.integration import worker_handlers
from tests.kits.deadlines import scaled

MODULE = "tests.integration.worker_handlers"


def make_table(path: Path, rows: int) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE carts (id INTEGER PRIMARY KEY, status TEXT NOT NULL)")
        connection.executemany("INSERT INTO carts VALUES (?, 'old')", [(i,) for i in range(1, rows + 1)])
    connection.close()
    return f"sqlite:///{path}"


def left(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        return [id_ for (id_,) in connection.execute("SELECT id FROM carts WHERE status = 'old' ORDER BY id")]
    finally:
        connection.close()


def handler_plan(function: str, **changes: Any) -> Plan:
    timeout = changes.pop("timeout", 5.0)
    concurrency = changes.pop("concurrency", 20)
    fields: dict[str, Any] = {
        "namespace": "default",
        "name": "carts",
        "uid": ScheduleRef.local("default", "carts").uid,
        "source": Source(table="carts"),
        "match": (Match("in", "status", ("old",)),),
        "effect": Effect(columns=("id",), handler=f"{MODULE}:{function}", timeout=timeout, concurrency=concurrency),
        "write": Write(update=(Assignment("status", "new"),)),
        "limits": RowLimits(batch_rows=100),
        "retry": RetryPolicy(max_attempts=1),
    }
    return Plan(**{**fields, **changes})


async def run(tmp_path: Path, plan: Plan, rows: int = 20, **settings: Any) -> tuple[Stats, tuple[DeadLetter, ...], int]:
    url = make_table(tmp_path / "carts.db", rows)
    where = f"sqlite:///{tmp_path / 'queue.db'}"
    queue = connect(where)
    try:
        await queue.open_sweep(plan.ref, SweepRequest(tick=1.0, plan=plan.version))
        worker = build_worker(plan, url=lambda: url, queue_url=where, settings=WorkerSettings(**settings))
        code = await worker.run(until_settled=True)
        (stats,) = await queue.stats([plan.ref])
        return stats, await queue.dead_letters(plan.ref), code
    finally:
        await queue.close()


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        ("raises", "ValueError", "thirteen"),
        ("exits_politely", "SystemExit", "3"),
        ("exits_politely_in_a_thread", "SystemExit", "3"),
        ("interrupts", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("cancels_itself", "CancelledError", "CancelledError"),
        ("times_out_inside", "TimeoutError", "the API was slow"),
        ("cancels_its_task", "CancelledError", "CancelledError"),
        ("stops_iterating", "RuntimeError", "StopIteration"),
        ("recurses", "RecursionError", "recursion"),
        ("leaves_its_generator", "GeneratorExit", "GeneratorExit"),
        ("returns_a_failing_coroutine", "ValueError", "thirteen"),
        ("returns_a_generator", "HandlerResult", "a generator, whose body never runs"),
        ("returns_a_generator_in_async", "HandlerResult", "a generator, whose body never runs"),
        ("returns_a_manager", "HandlerResult", "a context manager, whose body never runs"),
        ("returns_a_function", "HandlerResult", "a function, which is never called"),
        ("returns_a_future", "HandlerResult", "a Future, whose work may fail later"),
        ("rejects", "Rejected", "no such customer"),
        ("asks_for_another_column", "KeyError", "add it to effect.columns"),
    ],
)
async def test_whatever_a_handler_raises_is_the_failure_of_its_row(
    tmp_path: Path, function: str, error: str, text: str
) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan(function))
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.applied, stats.sweep.dead) == (SweepState.COMPLETED, 19, 1)
    assert (dead[0].key, dead[0].error) == (("13",), error)
    assert text in dead[0].message
    assert left(tmp_path / "carts.db") == [13]


async def test_a_plain_function_runs_in_a_thread(tmp_path: Path) -> None:
    stats, _, _ = await run(tmp_path, handler_plan("plain"))
    assert stats.sweep is not None
    assert stats.sweep.applied == 20


@pytest.mark.parametrize(
    "function",
    [
        "decorated",
        "by_lambda",
        "by_partial",
        "forgets_await",
        "forgets_await_in_async",
        "by_object",
        "by_partial_of_object",
        "by_bound_method",
        "by_plain_object",
        "takes_anything",
    ],
)
async def test_whatever_way_a_handler_is_called_its_effect_has_run_before_its_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setenv("KS_TEST_NOTES", str(tmp_path / "notes"))
    stats, dead, _ = await run(tmp_path, handler_plan(function), rows=5)
    assert stats.sweep is not None
    assert (stats.sweep.applied, dead) == (5, ())
    assert len((tmp_path / "notes").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("generates", "is a generator function"),
        ("generates_in_async", "is a generator function"),
        ("generates_by_partial", "is a generator function"),
        ("by_generating_object", "is a generator function"),
        ("manages", "is a context manager"),
        ("manages_in_async", "is a context manager"),
        ("takes_one", "takes (row: 'Row') -> 'None', and is called with (row, ctx): too many positional arguments"),
        ("takes_a_keyword", "missing a required argument: 'session'"),
        ("takes_three", "missing a required argument: 'session'"),
    ],
)
async def test_a_handler_whose_effect_could_not_run_fails_the_sweep_before_any_row(
    tmp_path: Path, function: str, text: str
) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan(function), rows=5)
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason, dead) == (SweepState.FAILED, "HandlerNotImportable", ())
    assert text in stats.sweep.message
    assert left(tmp_path / "carts.db") == [1, 2, 3, 4, 5]


async def test_the_first_traceback_of_an_error_is_logged_and_its_place_kept_with_the_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, dead, _ = await run(tmp_path, handler_plan("always_raises"), rows=20)
    assert len(dead) == 20
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage().startswith("the first row of this sweep that fails with LookupError: no ")
    assert "always_raises" in logging.Formatter().formatException(record.exc_info or (None, None, None))
    places = {letter.attempts[-1].where for letter in dead}
    assert places == {f"{worker_handlers.__file__}:{worker_handlers.always_raises.__code__.co_firstlineno + 1}"}


@pytest.mark.parametrize("function", ["reads_a_variable", "reads_a_variable_in_a_thread"])
async def test_each_call_starts_with_the_context_variables_of_the_lifespan(tmp_path: Path, function: str) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan(function), rows=3)
    assert stats.sweep is not None
    assert (stats.sweep.applied, dead) == (3, ())


async def test_a_handler_that_hangs_fails_its_row_after_its_timeout(tmp_path: Path) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan("hangs", timeout=1.0))
    assert stats.sweep is not None
    assert (stats.sweep.applied, dead[0].error) == (19, "HandlerTimeout")
    assert "effect.timeout" in dead[0].message


async def test_leaked_threads_make_the_worker_drain_and_leave_with_75(tmp_path: Path) -> None:
    worker_handlers.release.clear()
    try:
        plan = handler_plan("hangs_in_a_thread", timeout=1.0, concurrency=3)
        stats, dead, code = await run(tmp_path, plan)
        assert code == 75
        assert {letter.error for letter in dead} == {"HandlerTimeout"}
        assert stats.running == 0
    finally:
        worker_handlers.release.set()


async def test_a_lifespan_is_entered_once_per_worker_and_left_at_the_end(tmp_path: Path) -> None:
    worker_handlers.lives.clear()
    await run(tmp_path, handler_plan("counts"), rows=3)
    assert worker_handlers.lives == ["up", "call 1", "call 2", "call 3", "down"]


async def test_a_plain_lifespan_serves_a_plain_function(tmp_path: Path) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan("with_plain_lifespan"), rows=3)
    assert stats.sweep is not None
    assert (stats.sweep.applied, dead) == (3, ())


async def test_a_lifespan_that_cannot_connect_is_an_outage_and_costs_no_row(tmp_path: Path) -> None:
    from kubesweep_worker.effects.base import Delivery

    effect = HandlerEffect(handler_plan("with_broken_lifespan"), f"{MODULE}:with_broken_lifespan")
    delivery = Delivery(("1",), {"id": 1}, "k", "now", 1, "s")
    with pytest.raises(Exception, match="no route to the broker") as caught:
        await effect.deliver(delivery)
    assert getattr(caught.value, "reason", None) == "LifespanFailed"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_package.sweeps:close", "No module named 'no_such_package'"),
        (f"{MODULE}:missing", f"{MODULE} has no 'missing'; name a function of that module"),
        (f"{MODULE}:not_calable", f"{MODULE} has no 'not_calable'"),
        (f"{MODULE}:not_callable", "is a int, not a function"),
    ],
)
def test_a_handler_that_cannot_be_imported_says_where_it_was_searched(name: str, text: str) -> None:
    with pytest.raises(SweepFailure, match=r"effect\.handler") as caught:
        load_handler(name)
    assert caught.value.reason == "HandlerNotImportable"
    assert text in str(caught.value)


async def test_a_handler_that_is_not_importable_fails_the_sweep_and_is_a_finding(tmp_path: Path) -> None:
    stats, dead, _ = await run(tmp_path, handler_plan("missing"))
    assert stats.sweep is not None
    assert (stats.sweep.state, stats.sweep.reason, dead) == (SweepState.FAILED, "HandlerNotImportable", ())
    found = {f.kind: f for f in stats.findings}
    assert (found["Effect"].ok, found["Effect"].reason) == (False, "HandlerNotImportable")


@pytest.fixture(autouse=True)
def _no_handler_survives() -> Iterator[None]:
    yield
    worker_handlers.release.set()


@pytest.mark.parametrize("name", ["with_exiting_lifespan", "with_cancelled_lifespan"])
async def test_a_lifespan_that_exits_or_cancels_itself_is_an_outage_and_is_not_waited_for(name: str) -> None:
    effect = HandlerEffect(handler_plan(name), f"{MODULE}:{name}")
    async with asyncio.timeout(scaled(60)):
        with pytest.raises(Outage, match="lifespan"):
            await effect.start()
    await effect.close()
