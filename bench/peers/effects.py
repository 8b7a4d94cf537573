"""What the contestants of bench/effects.py have in common. Standard library only: it also runs in the peers' environments.

A contestant is a program with two roles, ``PROGRAM ROLE SETTINGS``. Each prints a line once it is ready; ``fill`` then waits for a line of
input. ``fill`` enqueues one job for each stale row, in pages of 1,000; ``work`` runs the effect of each, then updates its row.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

PAUSE = 0.005  # seconds that the effect ``pause`` takes
PAGE = 1000
STALE = "status IN ('pending', 'progress') AND expires_at < now()"
READ = f"SELECT id FROM conversations WHERE id > %s AND {STALE} ORDER BY id LIMIT {PAGE}"
WRITE = f"UPDATE conversations SET status = 'expired', closed_at = now() WHERE id = %s AND {STALE}"


@dataclass(frozen=True)
class EffectSettings:
    effect: str  # nothing, pause, or the URL of a webhook
    database: str
    port: int  # of Redis
    concurrency: int

    @classmethod
    def parse(cls, text: str) -> EffectSettings:
        return cls(**json.loads(text))

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def asked() -> tuple[str, EffectSettings]:
    """Role and settings; by environment variables where the program's framework has the command line."""
    given = sys.argv[1:] if len(sys.argv) > 2 else [os.environ["ROLE"], os.environ["SETTINGS"]]
    return given[0], EffectSettings.parse(given[1])


def ready() -> None:
    print("ready", flush=True)
