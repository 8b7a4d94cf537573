"""Bounds that every implementation of the queue keeps. Each implementation is tested against the same values."""

from __future__ import annotations

from kubesweep.text import MAX_TEXT

HISTORY = 10  # sweeps that are kept besides the latest
ATTEMPTS = 20  # failed attempts that are kept for each row
AHEAD = 300.0  # seconds that a tick may be ahead of the queue's clock; a later tick counts as now
LONGEST_LEASE = 4  # times the caller's lease; a longer one was given before the clock was set back
BEHIND = 0.001  # seconds between the last tick and the tick of an older request with a ``dedup_key``
FLOOD = 50  # dead rows of one error class, with none applied, that Halt a sweep
MAX_JOB_KEYS = 1000  # rows in one job of a replay
MESSAGE = MAX_TEXT  # characters of the message of a failure
MAX_FINDINGS = 64  # kinds of findings that are kept; a further kind replaces the oldest
TURN = 3.0  # seconds after which another worker measures the health of a database
MAX_SAMPLES = 20  # sample keys that a sweep keeps
RETRY_PAUSE = 60.0  # seconds until a retry that ended its sweep is due again
HALTING = frozenset({"TooManyFailedRows", "Flood"})  # reasons for which a running sweep Halts at its end, not Fails
