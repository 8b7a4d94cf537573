"""The names of excluded rows, and what is derived of them. Pure.

an excluded row is named by the origin of its key and the key: two tables may have a row of the same key.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import msgspec

from kubesweep.queue.model import ExcludedRows, Job, Key, key_text, parse_key


def row_text(origin: str, key: Key) -> str:
    """an excluded row as one line of text: its key's text behind its origin. Two tables may have a row of the same key."""
    return origin + key_text(key)


def parse_row(text: str) -> tuple[str, Key]:
    """The inverse of :func:`row_text`: a key's text begins with the only bracket that an origin cannot have."""
    origin, bracket, rest = text.partition("[")
    return origin, parse_key(bracket + rest)


def excluded_rows(version: int, rows: Iterable[str], origin: str) -> ExcludedRows:
    """The excluded set out of the texts of all its rows; see ``QueueService.excluded``."""
    parsed = [parse_row(row) for row in rows]
    mine = frozenset(key for of, key in parsed if not origin or of in ("", origin))
    elsewhere = sum(bool(origin) and of not in ("", origin) for of, _ in parsed)
    return ExcludedRows(version, mine, elsewhere)


def split_retry(job: Job, chosen: Container[str]) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """The keys of a retry job that are among ``chosen`` (texts of rows), and those that are not."""
    taken = tuple(key for key in job.keys if row_text(job.origin, key) in chosen)
    return taken, tuple(key for key in job.keys if key not in taken) if taken else job.keys


def narrowed(job: Job, keys: tuple[Key, ...]) -> Job:
    """The job with no other rows than these."""
    effects_done = tuple((key, stamp) for key, stamp in job.effects_done if key in keys)
    return msgspec.structs.replace(job, keys=keys, rows=len(keys), effects_done=effects_done)


def retry_now(job: Job, keys: tuple[Key, ...]) -> Job:
    """The job of rows in retry that somebody wants tried now, by whatever plan there is then, with fresh attempts."""
    return msgspec.structs.replace(narrowed(job, keys), plan=None, cutoff=None, attempt=1)


def too_many_failed(most: int, error: str, key: Key | None) -> str:
    """The sentence of a sweep that halts because no further failing row can be recorded. ``error``: the class of most of them."""
    such = f", most by {error}" if error else ""
    named = f", such as {key_text(key)}" if key is not None else ""
    return (
        f"{most} rows are in retry or dead{such}{named}: as many as deadLetters.haltAbove allows; fix the cause, then retry "
        "them, or purge them"
    )
