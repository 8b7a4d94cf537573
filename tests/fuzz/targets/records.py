"""Contents of the queue as both implementations read them: replies of Redis, and records of a SQLite file.

``redis``: replies whose texts another program damaged are decoded, or refused as Damaged. ``codecs``: what one implementation writes, the
other one reads as the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

from kubesweep.errors import Damaged
from kubesweep.queue.excluded import parse_row, row_text
from kubesweep.queue.model import Claims, DeadLetter, Job, Stats, Sweep, key_text, parse_key, plain_key, to_json
from kubesweep.queue.redis import arguments, replies
from kubesweep.queue.redis.client import RedisClient
from kubesweep.queue.sqlite import records
from kubesweep.text import printable
from kubesweep.timestamps import LAST
from tests.fuzz.damage import LEAVES, TEXTS, damaged_bytes, damaged_text, damaged_tree
from tests.fuzz.oracles import check_message
from tests.fuzz.target import Target

__all__ = ["JOBS", "SWEEP", "TARGETS"]

MOST = 2**53
PLAN = {"generation": 3, "hash": "9f2b"}
JOBS: list[dict[str, Any]] = [
    {"kind": "plan", "plan": PLAN, "sweep": "s1", "low": ["5"], "planned": 10, "wrap": ["9"], "cap": 100},
    {"kind": "range", "plan": PLAN, "sweep": "s1", "cutoff": "2026-01-01 00:00:00+00", "low": ["1", "eu"], "high": ["9", "us"], "rows": 1000, "origin": "db/shop.carts/id"},
    {"kind": "keys", "sweep": "s1", "keys": [["1"], ["2"]], "rows": 2, "attempt": 3, "is_retry": True, "effects_done": [[["1"], "0f3c"]], "whole_failures": 1},
    {"kind": "keys", "plan": PLAN, "sweep": "s1", "keys": [["1"]], "rows": 1, "suspect": True, "crashes": 2, "may_have_committed": True},
    {"kind": "check", "plan": PLAN},
]  # fmt: skip
SWEEP: dict[str, Any] = {
    "id": "s1", "tick": "1800000000.0", "generation": 3, "hash": "9f2b", "mode": "Enforce", "state": "Running", "reason": "", "message": "",
    "started": "1800000000.5", "planned": 10, "applied": 3, "skipped": 1, "unconfirmed": 0, "retrying": 2, "dead": 1, "open": 3, "finished": "1800000009.5",
    "cutoff": "2026-01-01", "capped": True, "stopped": 'db["5"]', "samples": ['["1"]', '["2"]'], "stale": 12, "newest": "1800000000.0", "oldest": "1700000000.0", "estimated": True,
    "approved": "1800000001.0",
}  # fmt: skip
ROW: dict[str, Any] = {
    "s": "s1",
    "a": [["1800000000.0", "Rejected", "no such cart"], [1800000001.5, "HTTP500", "x"]],
    "w": "app.py:5",
    "t": "0f3c",
}
FINDING: dict[str, Any] = {"kind": "Throttle", "ok": False, "reason": "Slow", "message": "m", "plan": PLAN, "throttle": {"factor": 0.5, "value": "5 s", "limit": "1 s"}, "signals": [{"name": "replayLag", "limit": "1 s", "value": "5 s", "factor": 0.5, "seconds": 9.0}]}  # fmt: skip
PACE: dict[str, Any] = {"rows_per_second": 100.0, "throttle": "50", "rate": 50.0, "health": {"lock_waits": 5.0}}
BASELINE: dict[str, Any] = {"table": "0f3c", "match": "9ab1", "write": "update", "effect": "none", "database": {"name": "7/db", "timeline": 1}, "since": 1700000000.0}  # fmt: skip
NAMES = sorted({*SWEEP, *ROW, *FINDING, *PACE, *BASELINE, *(name for job in JOBS for name in job)})


def documents(bases: list[Any]) -> st.SearchStrategy[str]:
    """JSON of one of ``bases``, damaged as a tree or as a text."""
    texts = [json.dumps(each) for each in bases]
    return st.one_of(
        st.sampled_from(texts), damaged_tree(bases, NAMES, most=2).map(json.dumps), damaged_text(texts, most=2)
    )


NUMBER = st.sampled_from(
    [
        "0",
        "1",
        "5.5",
        "1800000000.0",
        "-1",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e308",
        "9" * 30,
        "9" * 5000,
        "",
        "x",
        "٣",
        "0x1",
        "1_0",
        " 1 ",
    ]
)
TEXT = st.sampled_from(["", "s1", "db", *TEXTS]) | st.text(max_size=4)
NAME = st.sampled_from(
    ['["1"]', 'db/shop.carts["1","eu"]', "[", "db[", '["1"', "[1]", '[["1"]]', "[]", ""]
) | damaged_text(['db["1","eu"]'])
SMALL = st.integers(0, 5)
FLAG = st.integers(0, 1)
PAUSES = st.lists(NUMBER, max_size=4).map(" ".join)


def _joined(found: list[list[Any]]) -> list[Any]:
    return [each for part in found for each in part]


CLAIMED = st.lists(st.tuples(st.just("5-0"), SMALL, documents(JOBS)).map(list), max_size=3).map(_joined)
META = st.tuples(
    *[NUMBER] * 5, TEXT, TEXT, documents([BASELINE]) | st.just(""), st.sampled_from(("", "1")) | TEXT, PAUSES
).map(list)
CLAIMS = st.tuples(SMALL, NUMBER, NUMBER, NUMBER, CLAIMED, TEXT, NUMBER, NUMBER, NUMBER, documents([PACE]) | st.just(""), st.lists(st.tuples(SMALL, NUMBER).map(list), max_size=2).map(_joined)).map(list)  # fmt: skip
REPLIES: dict[str, st.SearchStrategy[Any]] = {
    "stats": st.tuples(
        FLAG, META, SMALL, SMALL, SMALL, SMALL, SMALL, NUMBER,
        st.lists(documents([SWEEP]), max_size=3), st.lists(st.tuples(NUMBER, documents([FINDING])).map(" ".join), max_size=2), NUMBER,
        documents([PACE]) | st.just(""), SMALL, FLAG, st.just("1800000010.0"),
    ).map(list) | st.just([]),
    "claims": CLAIMS | st.just([]),
    "settled": st.tuples(*[st.lists(TEXT, max_size=2)] * 3, CLAIMS, st.lists(SMALL, min_size=5, max_size=5)).map(list),
    "dead_letters": st.lists(st.tuples(NAME, NUMBER, documents([ROW])).map(list), max_size=3).map(_joined),
    "rows_in_retry": st.lists(st.tuples(NAME, documents([ROW])).map(list), max_size=3).map(_joined),
    "excluded": st.tuples(NUMBER, st.lists(NAME, max_size=4)).map(list),
}  # fmt: skip


@st.composite
def reply_cases(draw: st.DrawFn) -> dict[str, Any]:
    what = draw(st.sampled_from(sorted(REPLIES)))
    reply = draw(REPLIES[what])
    texts = _texts_in(reply)
    bad = draw(st.integers(0, max(9, len(texts)))) if texts else 0
    if (
        texts and bad < len(texts) and draw(st.booleans())
    ):  # bytes that are no text, which a client passes on as they are
        *above, last = texts[bad]
        place = reply
        for step in above:
            place = place[step]
        place[last] = draw(damaged_bytes([place[last].encode("utf-8", "surrogatepass")]))
    return {"what": what, "reply": reply}


def _texts_in(value: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if isinstance(value, str):
        return [path]
    return (
        [found for at, each in enumerate(value) for found in _texts_in(each, (*path, at))]
        if isinstance(value, list)
        else []
    )


READERS: dict[str, Callable[[Any], Any]] = {
    "stats": replies.stats,
    "claims": lambda reply: replies.claims(reply, "ann"),
    "settled": lambda reply: replies.settled(reply, "ann"),
    "dead_letters": replies.dead_letters,
    "rows_in_retry": replies.rows_in_retry,
    "excluded": lambda reply: replies.excluded(reply[0], reply[1], "db/shop.carts"),
}


@functools.cache
def client() -> RedisClient:
    return RedisClient("redis://127.0.0.1:1", None)  # it is never connected


def decode(what: str, reply: Any) -> Any:
    try:
        return client().decode_reply(READERS[what], reply)
    except Damaged as error:
        check_message(printable(str(error)).replace("\n", " "), "")
        return Damaged


def check_reply(case: dict[str, Any]) -> None:
    what, reply = case["what"], case["reply"]
    found = decode(what, _as(bytes, reply))
    if not any(isinstance(each, bytes) for each in _flat(reply)):
        other = decode(what, reply)
        assert repr(found) == repr(other), "a client that decodes replies reads something else"
    if isinstance(found, Stats):
        _check_stats(found)
    elif what in ("claims", "settled") and found is not Damaged:
        claims: Claims = found if what == "claims" else found.claims
        for each in claims.jobs:
            assert replies.decode_job(arguments.body(each.job)) == each.job
    elif what in ("dead_letters", "rows_in_retry") and found is not Damaged:
        for letter in found:
            assert isinstance(letter, DeadLetter)
            assert all(isinstance(part, str) for part in letter.key)
            assert letter.attempts


def _as(kind: type, value: Any) -> Any:
    if isinstance(value, list):
        return [_as(kind, each) for each in value]
    return value.encode("utf-8", "surrogatepass") if kind is bytes and isinstance(value, str) else value


def _flat(value: Any) -> list[Any]:
    return [found for each in value for found in _flat(each)] if isinstance(value, list) else [value]


def _check_stats(stats: Stats) -> None:
    times = (
        stats.last_tick,
        stats.oldest_ready,
        stats.first_lease,
        *(
            time
            for each in stats.sweeps
            for time in (each.tick, each.started, each.finished, each.oldest, each.approved)
        ),
    )
    assert all(time is None or 0 <= time <= LAST for time in times), "a time that has no date"
    for each in stats.sweeps:
        counts = (
            each.planned,
            each.applied,
            each.skipped,
            each.unconfirmed,
            each.retrying,
            each.dead,
            each.open_jobs,
            each.stale or 0,
        )
        assert all(0 <= number <= MOST for number in counts), "a count that no caller expects"
    assert all(0 <= number <= MOST for number in msgspec.structs.astuple(stats.ticks))
    msgspec.json.encode(stats)


@st.composite
def codec_cases(draw: st.DrawFn) -> dict[str, Any]:
    """Values that Kubesweep writes itself: any texts in the places where it writes texts of others."""
    any_text = st.sampled_from([text for text in TEXTS if "\ud800" not in text]) | st.text(max_size=6)
    job = dict(draw(st.sampled_from(JOBS)))
    key = draw(st.lists(any_text, min_size=1, max_size=3))
    if "keys" in job:
        job |= {"keys": [key], "rows": 1, "effects_done": [[key, draw(any_text)]]}
    return {
        "job": job | {"origin": draw(any_text.map(lambda text: text.replace("[", ""))), "cutoff": draw(st.none() | any_text)},
        "key": key,
        "sweep": SWEEP | {"message": draw(any_text), "reason": draw(any_text), "samples": [key_text(tuple(key))], "stale": draw(st.none() | st.integers(0, 10**9)), "state": draw(st.sampled_from(["Planning", "Running", "AwaitingApproval", "Completed", "Failed"]))},
        "attempts": draw(st.lists(st.tuples(st.floats(0, 2e9), any_text, any_text).map(list), min_size=1, max_size=3)),
        "odd": draw(LEAVES.map(str)),
    }  # fmt: skip


def check_codecs(case: dict[str, Any]) -> None:
    job = msgspec.convert(case["job"], Job)
    assert replies.decode_job(arguments.body(job)) == job == records.decode_job(to_json(job))
    key, origin = tuple(case["key"]), job.origin
    assert parse_key(key_text(key)) == key == parse_key(plain_key(key))
    assert printable(plain_key(key)) == plain_key(key)
    assert "\n" not in key_text(key)
    assert parse_row(row_text(origin, key)) == (origin, key)
    assert isinstance(parse_key(case["odd"]), tuple)
    _check_sweep(case["sweep"])
    _check_attempts(origin, key, case["attempts"])


def _check_sweep(written: dict[str, Any]) -> None:
    """The JSON that Lua writes and the row of SQLite are the same sweep."""
    of_redis = replies.sweep(json.dumps(written))
    moments = {
        name: None if written[name] is None else float(written[name])
        for name in ("tick", "started", "finished", "oldest", "newest", "approved")
    }
    row = (
        written["id"], moments["tick"], written["generation"], written["hash"], written["mode"], written["state"], written["reason"], written["message"],
        written["cutoff"], moments["started"], moments["finished"], written["planned"], written["applied"], written["skipped"], written["unconfirmed"],
        written["retrying"], written["dead"], int(written["capped"]), to_json([json.loads(each) for each in written["samples"]]), written["stopped"],
        written["stale"], moments["oldest"], "", int(written["estimated"]), moments["approved"], moments["newest"], written["open"],
    )  # fmt: skip
    of_sqlite: Sweep = records._sweep(row)
    assert of_redis == of_sqlite


def _check_attempts(origin: str, key: tuple[str, ...], attempts: list[Any]) -> None:
    record = json.dumps({"s": "s1", "a": attempts, "w": "app.py:5", "t": "0f3c"})
    (letter,) = replies.dead_letters([row_text(origin, key), "1800000000.0", record])
    assert (letter.key, letter.origin) == (key, origin)
    assert records.decode_attempts(to_json(letter.attempts)) == letter.attempts


TARGETS = (
    Target("redis", reply_cases(), check_reply),
    Target("codecs", codec_cases(), check_codecs),
)
