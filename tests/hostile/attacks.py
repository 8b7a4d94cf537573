"""Hypothesis strategies for what a tenant may do with the role `edit` in its namespace and the credentials of its queue.

The values are arbitrary, with a bias to values that the controller and the workers parse. tenants.py carries the attacks out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from kubesweep.queue.redis.scripts import KEY_NAMES

WORDS = st.sampled_from(
    ["", "w", "h", "b", "uid", "ids", "tick", "paused", "approved", "cur", "behind", "tokens", "h\n{}", "-", "0"]
)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.sampled_from([10**30, -1, 2**53 + 1]),
).map(str)
JOBS = st.sampled_from(
    [
        '{"kind":"plan","sweep":"x","cutoff":"2999-01-01"}',
        '{"kind":"keys","keys":[["1"]],"rows":99999999999999999999,"is_retry":true}',
        '{"kind":"keys","keys":' + "[" * 2000 + "]" * 2000 + "}",
        '{"id":"x","tick":1e999,"state":"AwaitingApproval"}',
        "{}",
        "null",
    ]
)
TEXTS = st.one_of(WORDS, NUMBERS, JOBS, st.text(max_size=40), st.just("x" * 300_000)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
VALUES = st.one_of(TEXTS, st.binary(max_size=40))
SCORES = st.one_of(st.floats(allow_nan=False), st.sampled_from([float("inf"), float("-inf"), 1e300]))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(["x" * 70_000, "1Gi", "$(A)", "\u202e\x1b[2J"]),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text("abcdefgimnoprstuv", max_size=12), inside, max_size=4),
    max_leaves=12,
)  # fmt: skip
PATHS = st.sampled_from(
    [
        ("schedule",), ("every",), ("timeZone",), ("suspend",), ("mode",), ("source",), ("source", "table"), ("source", "key"),
        ("source", "urlFrom"), ("match",), ("effect",), ("write",), ("limits",), ("retry",), ("deadLetters",), ("worker",), ("tick",),
        ("worker", "podTemplate"), ("worker", "podTemplate", "spec"), ("worker", "podTemplate", "spec", "containers"),
        ("worker", "podTemplate", "metadata", "labels"), ("worker", "podTemplate", "spec", "volumes"), ("worker", "env"),
        ("worker", "resources"), ("worker", "image"), ("tick", "podTemplate"), ("unknown",),
    ]
)  # fmt: skip
REQUESTS = st.sampled_from(["trigger", "approve", "retry-dead-letters", "purge-dead-letters", "throttle"])


class Key(NamedTuple):
    """A key of the queue to overwrite. ``name`` is one of the schedule's keys, or the part after the namespace's prefix."""

    name: str | bytes
    kind: str  # string, list, set, hash, zset, stream
    entries: tuple[tuple[bytes, bytes, float], ...]


class Spec(NamedTuple):
    """A field of the tenant's schedule that is set to ``value``."""

    path: tuple[str, ...]
    value: Any


class Annotation(NamedTuple):
    """A request annotation of the tenant's schedule."""

    request: str
    value: str


class Child(NamedTuple):
    """A change of a child that the controller created."""

    kind: str  # deployment, cronjob, scaledobject, secret
    how: str  # delete, labels, owner, annotate
    value: str


class Command(NamedTuple):
    """A Redis command, sent with the workers' or KEDA's credentials."""

    keda: bool
    words: tuple[Any, ...]


KEYS = st.builds(
    Key,
    st.sampled_from(KEY_NAMES) | st.sampled_from(["a/b/c}:meta", "a/b}:meta", "/}:meta", "}:meta", "a/b}", "x"]) | st.binary(max_size=20),
    st.sampled_from(["string", "list", "set", "hash", "zset", "stream"]),
    st.lists(st.tuples(VALUES, VALUES, SCORES), min_size=1, max_size=4).map(tuple),
)  # fmt: skip
SPECS = st.builds(Spec, PATHS, JSON)
ANNOTATIONS = st.builds(Annotation, REQUESTS, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=2000))
CHILDREN = st.builds(
    Child,
    st.sampled_from(["deployment", "cronjob", "scaledobject", "secret"]),
    st.sampled_from(["delete", "labels", "owner", "annotate"]),
    st.sampled_from(["good", "evil", "", "worker", "x" * 63]),
)
COMMANDS = st.builds(
    Command,
    st.booleans(),
    st.sampled_from(
        [
            ("EVAL", "return redis.call('keys', '*')", 0),
            ("EVAL", "for i = 1, 3000 do redis.call('hset', KEYS[1], i, string.rep('x', 10000)) end", 1, "big"),
            ("EVAL", "return cjson.decode(string.rep('[', 100000))", 0),
            ("EVAL", "return string.rep(string.rep('x', 2^13), 2^13)", 0),
            ("FLUSHALL",),
            ("CONFIG", "SET", "maxmemory", "1"),
            ("ACL", "SETUSER", "me", "on", "nopass", "+@all", "~*"),
            ("SCRIPT", "FLUSH"),
            ("CLIENT", "KILL", "TYPE", "normal"),
            ("SHUTDOWN", "NOSAVE"),
            ("UNLINK", "all"),
            ("XGROUP", "DESTROY", "work", "w"),
        ]
    ),
)
ATTACKS = st.one_of(KEYS, KEYS, KEYS, SPECS, SPECS, ANNOTATIONS, CHILDREN, COMMANDS)
