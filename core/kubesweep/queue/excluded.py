"""Names of excluded rows, and pure functions on retry jobs that both implementations use.

The name of an excluded row has the origin of its key and the key, because two tables may have rows of the same key.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import msgspec

from kubesweep.queue.model import ExcludedRows, Job, Key, key_text, parse_key


def row_text(origin: str, key: Key) -> str:
    """The name of an excluded row as one line of text: its origin, then the text of its key."""
    return origin + key_text(key)


def parse_row(text: str) -> tuple[str, Key]:
    """The inverse of :func:`row_text`. The text of a key begins with a bracket, which an origin cannot have."""
    origin, bracket, rest = text.partition("[")
    return origin, parse_key(bracket + rest)


def excluded_rows(version: int, rows: Iterable[str], origin: str) -> ExcludedRows:
    """The excluded set from the names of all its rows; see ``QueueService.excluded``."""
    parsed = [parse_row(row) for row in rows]
    mine = frozenset(key for of, key in parsed if not origin or of in ("", origin))
    elsewhere = sum(bool(origin) and of not in ("", origin) for of, _ in parsed)
    return ExcludedRows(version, mine, elsewhere)


def split_retry(job: Job, chosen: Container[str]) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """The keys of a retry job that are among ``chosen`` (names of rows), and those that are not."""
    taken = tuple(key for key in job.keys if row_text(job.origin, key) in chosen)
    return taken, tuple(key for key in job.keys if key not in taken) if taken else job.keys


def narrowed(job: Job, keys: tuple[Key, ...]) -> Job:
    """The job with only these rows."""
    effects_done = tuple((key, effect_key) for key, effect_key in job.effects_done if key in keys)
    return msgspec.structs.replace(job, keys=keys, rows=len(keys), effects_done=effects_done)


def retry_now(job: Job, keys: tuple[Key, ...]) -> Job:
    """The job that tries rows in retry now, with fresh attempts and the plan that the worker has."""
    return msgspec.structs.replace(narrowed(job, keys), plan=None, cutoff=None, attempt=1)


def too_many_failed(most: int, error: str, key: Key | None) -> str:
    """The message of a sweep that halts with TooManyFailedRows. ``error`` is the most frequent error class."""
    by_error = f", most by {error}" if error else ""
    example = f", such as {key_text(key)}" if key is not None else ""
    return (
        f"{most} rows are in retry or dead{by_error}{example}: as many as deadLetters.haltAbove allows; fix the cause, then retry "
        "them, or purge them"
    )
