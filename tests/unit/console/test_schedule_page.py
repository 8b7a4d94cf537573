"""The page of one schedule, its dead letters and its database, as view models."""

from __future__ import annotations

from typing import Any

import pytest

from kubesweep.api.models.spec import Spec
from kubesweep.queue.model import Attempt, DeadLetter, ErrorGroup
from kubesweep.timestamps import time_text
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind, DeadLetters
from kubesweep_console.views.databases import database_of, databases
from kubesweep_console.views.dead_letters import groups_of
from kubesweep_console.views.schedule import possible_actions, schedule_page
from kubesweep_console.views.state import state_of
from kubesweep_console.views.words import SIGNALS, words_of
from kubesweep_worker.flow_control.health_level import REASONS
from tests.kits.console import NOW, SPEC, condition, document, schedule, sweep


def command(action: Action) -> str:
    return f"type {action.kind} {action.error}{action.sweep}".strip()


def words(**fields: Any) -> dict[str, tuple[str, ...]]:
    spec = {**SPEC, **fields}
    Spec.model_validate(spec)
    return {each.label: each.lines for each in words_of(spec)}


def test_a_spec_in_words() -> None:
    assert words() == {
        "fires": ("every 5 minutes (*/5 * * * *) in the zone Europe/Berlin",),
        "sweeps": ("the table public.carts",),
        "rows in which": ("status is open or new", "updated_at lies before now-24h"),
        "then": ("sets status to abandoned",),
        "limits": ("at most 5,000 rows in one sweep", "more than 100 rows need your approval"),
        "a row that fails": (
            "is tried 5 times, then it is a dead letter, kept for 168h",
            "the sweep halts if more than 1,000 rows fail",
        ),
    }


@pytest.mark.parametrize(
    ("label", "fields", "line"),
    [
        ("fires", {"suspend": True}, "never while it is suspended"),
        (
            "fires",
            {"mode": "DryRun"},
            "every 5 minutes (*/5 * * * *) in the zone Europe/Berlin, as a dry run that changes nothing",
        ),
        ("rows in which", {"match": [{"column": "a", "isNull": True}]}, "a is NULL"),
        ("rows in which", {"match": [{"column": "a", "isNull": False}]}, "a is not NULL"),
        ("rows in which", {"match": [{"column": "a", "notIn": [1, 2]}]}, "a is not 1 or 2"),
        ("rows in which", {"match": [{"column": "a", "lessThan": 0}]}, "a is less than 0"),
        ("rows in which", {"match": [{"sql": "t.a = t.b"}]}, "t.a = t.b"),
        (
            "rows in which",
            {"match": [{"column": "a", "before": "now", "unit": "seconds"}]},
            "a lies before now, counted in seconds since 1970",
        ),
        (
            "rows in which",
            {"match": [{"column": "a", "in": [1, 2, 3, 4, 5, 6]}]},
            "a is 1 or 2 or 3 or 4 or 5 or one of 1 more",
        ),
        ("calls", {"effect": {"handler": "shop.sweeps:notify", "key": ["id"]}}, "the function shop.sweeps:notify"),
        ("calls", {"effect": {"webhook": {"url": "https://a.example/x"}, "key": ["id"]}}, "the webhook at a.example"),
        ("then", {"write": {"delete": {}}}, "deletes the row"),
        (
            "then",
            {"write": {"delete": {"archiveTo": {"table": "old"}}}},
            "copies the row to old and deletes it",
        ),
        ("then", {"write": {"update": [{"column": "a", "sql": "now()"}]}}, "sets a to now()"),
    ],
)
def test_each_field_has_words(label: str, fields: dict[str, Any], line: str) -> None:
    assert words(**fields)[label] == (line,)


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("* * * * *", "every minute (* * * * *)"),
        ("@hourly", "every hour at minute 0 (@hourly)"),
        ("@daily", "every day at 00:00 (@daily)"),
        ("5 3 * * *", "every day at 03:05 (5 3 * * *)"),
        ("30 14 * * 1-5", "from Monday to Friday at 14:30 (30 14 * * 1-5)"),
        ("*/7 * * * *", "at */7 * * * *"),
        ("0 3 1 * *", "at 0 3 1 * *"),
        ("@yearly", "at @yearly"),
    ],
)
def test_usual_cron_expressions_have_words(expression: str, line: str) -> None:
    assert words(schedule=expression)["fires"] == (f"{line} in the zone Europe/Berlin",)


def test_the_signals_of_a_database_are_named() -> None:
    health = {"replayLag": "2s", "pauseOnVacuum": True, "query": {"sql": "select 1", "limit": 9}}
    found = words(source={**SPEC["source"], "health": health})["slows down"]
    assert found == (
        "at half of replay lag 2s, and pauses at it",
        "at half of 9 as the value of select 1, and pauses at it",
        "and pauses while an autovacuum works on the table",
    )


@pytest.mark.parametrize("effect", [None, {"handler": "shop:close"}])
def test_the_usual_signals_include_the_sessions_of_others_unless_the_sweep_has_an_effect(effect: Any) -> None:
    spec = {**SPEC, "source": {**SPEC["source"], "health": {"auto": True}}, **({"effect": effect} if effect else {})}
    lines = next(each.lines for each in words_of(spec) if each.label == "slows down")
    assert ("to a tenth while other sessions use the database" in lines) is (effect is None)


def test_every_signal_has_a_name_for_people() -> None:
    assert set(SIGNALS) == set(REASONS)


def test_without_a_spec_there_are_no_words() -> None:
    assert words_of({}) == ()


def test_the_page_has_ticks_with_zone_sweeps_and_conditions_with_commands() -> None:
    one = schedule(
        lastScheduleTime=time_text(NOW),
        lastMissedTime=time_text(NOW - 600),
        ticks={"enqueued": 9, "forbidden": 0, "late": 1, "duplicate": 0},
        lastSweep=sweep("AwaitingApproval", took=None),
        history=[sweep(id="41aa")],
        conditions=[condition("Degraded", "True", "AwaitingApproval"), condition("Ready", "True")],
    )
    page = schedule_page(one, NOW, command)
    assert page.last_tick is not None
    assert page.last_tick.clock == "2027-01-15 09:00:00 CET"
    assert [each.clock[11:16] for each in page.coming] == ["09:05", "09:10", "09:15", "09:20", "09:25"]
    assert page.tick_counts == (("became a sweep", "9"), ("missed", "1"))
    assert [each.id for each in page.sweeps] == ["9f2c", "41aa"]
    degraded, ready = page.conditions
    assert [each.command for each in degraded.advice] == ["type approve 9f2c"]
    assert (degraded.tone, ready.tone, ready.advice) == ("bad", "good", ())
    assert [each.kind for each in page.actions] == [ActionKind.APPROVE, ActionKind.PAUSE]


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ({}, ["trigger", "pause"]),
        ({"lastSweep": sweep("Running", took=None)}, ["pause"]),
        ({"lastSweep": sweep(), "queue": {"dead": 3}}, ["trigger", "retry", "purge", "pause"]),
        ({"conditions": [condition("Suspended", "True")]}, ["trigger", "resume"]),
        ({"throttle": {"reason": "Annotation", "value": "pause"}}, ["trigger", "resume"]),
        ({"throttle": {"reason": "Annotation", "value": "500"}}, ["trigger", "pause"]),
        ({"throttle": {"reason": "ReplayLag", "percent": 0, "value": "3 s"}}, ["trigger", "pause"]),
    ],
)
def test_only_actions_with_an_effect_are_offered(status: dict[str, Any], kinds: list[str]) -> None:
    assert list(possible_actions(schedule(**status))) == kinds


def test_dead_letters_are_grouped_with_the_command_for_exactly_these() -> None:
    attempts = (Attempt(NOW - 9, "Timeout", "no answer"), Attempt(NOW - 5, "Timeout", "no answer", "shop.py:7"))
    here, there = "public.carts(id) #1a2b", "public.old(id) #3c4d"
    groups = (
        ErrorGroup("Timeout", 2, "no answer", NOW - 60, NOW - 5, (("7",), ("eu", "8")), here),
        ErrorGroup("Timeout", 9, "no answer", NOW - 60, NOW - 5, (("1",),), there),
    )
    letters = tuple(DeadLetter((str(key),), "Timeout", "no answer", NOW, "9f2c", attempts, here) for key in range(5))
    large, small = groups_of(schedule(), DeadLetters(groups, letters), NOW, command)
    assert (large.rows, large.more, large.table, large.letters) == ("9 rows", "8", "public.old(id)", ())
    assert (small.keys, small.more, small.retry, small.purge) == (
        ("7", '["eu","8"]'),
        "",
        "type retry Timeout",
        "type purge Timeout",
    )
    assert [each.key for each in small.letters] == ["0", "1", "2"]
    assert [(each.number, each.where) for each in small.letters[0].attempts] == [(1, ""), (2, "shop.py:7")]


def test_schedules_are_grouped_by_their_database_and_its_signals() -> None:
    slow = {"reason": "ReplayLag", "percent": 0, "value": "3 s", "limit": "2 s", "message": "it pauses"}
    found = databases(
        (
            (each, state_of(each))
            for each in (
                schedule("a", "shop", lastSweep=sweep("Running", took=None), throttle=slow),
                schedule("b", "shop", lastSweep=sweep()),
                schedule("c", "test", lastSweep=sweep()),
            )
        ),
        NOW,
    )
    assert [(each.name, [one.schedule.name for one in each.schedules]) for each in found] == [
        ("shop: Secret shop-db, entry url", ["a", "b"]),
        ("test: Secret shop-db, entry url", ["c"]),
    ]
    ((signal,), ()) = (each.signals for each in found)
    assert (signal.schedule.name, signal.tone, signal.throttle.value) == ("a", "bad", "3 s")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"urlFrom": {"file": "/run/url"}}, "shop: file /run/url"),
        ({"connection": {"host": "db", "database": "shop"}}, "shop: db/shop"),
        ({"connection": {"secretRef": {"name": "parts"}}}, "shop: Secret parts"),
        ({}, "not known: the schedule's file was not given"),
    ],
)
def test_a_database_is_named_by_its_address_or_its_credentials(source: dict[str, Any], name: str) -> None:
    assert database_of(schedule(spec={"source": source})) == name


def test_the_address_of_the_provider_comes_first() -> None:
    assert database_of(Schedule({**document(), "database": "postgresql://db/shop"})) == "postgresql://db/shop"


def test_all_signals_of_a_database_are_shown_with_their_limits() -> None:
    since = time_text(NOW - 60)
    signals = [
        {"name": "replayLag", "value": "0.1 s", "limit": "2.0 s", "percent": 100, "since": since},
        {"name": "lockWaits", "value": "3", "limit": "5", "percent": 50, "since": since},
        {"name": "pauseOnVacuum", "value": "running", "limit": "running", "percent": 0, "since": since},
        {"name": "oldestXmin", "limit": "600 s", "percent": 100, "since": "soon"},
        {"name": "activeSessions", "value": "3", "limit": "1", "percent": 10, "since": "soon"},
        {"name": "later"},
        7,
    ]
    ((found,)) = databases([(one := schedule("a", "shop", signals=signals), state_of(one))], NOW)
    assert [(each.label, each.signal.value, each.pauses_at, each.tone) for each in found.measured] == [
        ("replay lag", "0.1 s", "2.0 s", "good"),
        ("sessions that wait for locks", "3", "5", "warn"),
        ("autovacuum on the table", "running", "running", "bad"),
        ("oldest transaction", "", "600 s", "off"),
        ("other sessions that use the database", "3", "never, it only slows down", "warn"),
        ("later", "", "", "off"),
    ]
    times = [each.since for each in found.measured]
    assert [None if each is None else each.distance for each in times] == ["1 min 0 s ago"] * 3 + [None] * 3


@pytest.mark.parametrize("signals", [None, "x", {"name": "replayLag"}, []])
def test_signals_of_another_shape_are_none(signals: Any) -> None:
    ((found,)) = databases([(one := schedule("a", "shop", signals=signals), state_of(one))], NOW)
    assert found.measured == ()
