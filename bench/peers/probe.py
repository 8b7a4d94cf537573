"""The measurements that every contestant's worker makes of itself. Standard library only: it also runs in the peers' environments.

A contestant is a program with three roles, ``PROGRAM ROLE SETTINGS`` (SETTINGS is one JSON object):

- ``fill`` enqueues ``jobs`` jobs in the fastest way that it has, and prints the seconds that it took;
- ``work`` is one worker process; it prints its measurements, and is then killed;
- ``trickle`` enqueues jobs 1, 2, ... one after the other with a pause, and prints when each was sent.
"""

from __future__ import annotations

import json
import resource
import socket
import time
from dataclasses import dataclass, fields

NAP = 0.01  # seconds that a job of the kind "nap" sleeps
BATCH = 1000  # jobs enqueued at once, where the contestant can
TOGETHER = 50  # single enqueues under way at once, where it cannot


@dataclass(frozen=True)
class Settings:
    port: int
    kind: str  # noop, nap or pick
    jobs: int  # that count
    warm: int  # that come before
    concurrency: int
    pause: float = 0.05  # trickle: seconds between two jobs

    @classmethod
    def parse(cls, text: str) -> Settings:
        given = json.loads(text)
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def say(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def server_cpu(port: int) -> float:
    """Seconds of processor time that the server has used."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"INFO cpu\r\n")
        answer = b""
        while b"used_cpu_user_main_thread" not in answer:
            answer += connection.recv(65536)
    lines = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
    return float(lines["used_cpu_sys"]) + float(lines["used_cpu_user"])


class Probe:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._count = 0
        self._end = settings.warm + settings.jobs
        self._before = (0.0, 0.0, 0.0)
        self._picked: dict[int, float] = {}

    def done(self) -> None:
        """Call it at the end of each job of the kinds noop and nap."""
        self._count = count = self._count + 1
        if count == self._settings.warm:
            self._before = self._now()
        elif count == self._end:
            spent = [after - before for before, after in zip(self._before, self._now(), strict=True)]
            say(jobs=self._settings.jobs, seconds=spent[0], worker_cpu=spent[1], server_cpu=spent[2])

    def picked(self, i: int) -> None:
        """Call it first in job number ``i`` of the kind pick. Job 0 only reports that the worker is ready. A job that runs twice counts
        once."""
        now = time.monotonic()
        if i == 0:
            say(ready=True)
        elif i not in self._picked:
            self._picked[i] = now
            if len(self._picked) == self._end:
                say(picked=[self._picked[i] for i in sorted(self._picked)])

    def _now(self) -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), used.ru_utime + used.ru_stime, server_cpu(self._settings.port)
