"""Celery on Redis: processes for the effect that does nothing, threads for effects that wait."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from urllib.parse import urlsplit

import psycopg
from celery import Celery, signals
from effects import PAUSE, READ, WRITE, asked, ready

role, settings = asked()
app = Celery("effects", broker=settings.redis)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)
local = threading.local()


def connection() -> psycopg.Connection:
    if not hasattr(local, "connection"):
        local.connection = psycopg.connect(settings.database, autocommit=True)
    return local.connection


def post(id_: int) -> None:
    if not hasattr(local, "client"):
        local.client = http.client.HTTPConnection(urlsplit(settings.effect).netloc)
    local.client.request("POST", "/", f'{{"id": {id_}}}', {"Content-Type": "application/json"})
    answer = local.client.getresponse()
    answer.read()
    assert answer.status == 200


@app.task(name="row")
def row(id_: int) -> None:
    if settings.effect == "pause":
        time.sleep(PAUSE)
    elif settings.effect != "nothing":
        post(id_)
    connection().execute(WRITE, (id_,))


@signals.worker_ready.connect
def say(**_: object) -> None:
    ready()


def fill() -> None:
    ready()
    sys.stdin.readline()
    last = 0
    with app.producer_pool.acquire(block=True) as producer:
        while page := connection().execute(READ, (last,)).fetchall():
            for (id_,) in page:
                row.apply_async((id_,), producer=producer)
            last = page[-1][0]


if role == "fill":
    fill()
else:
    pool = ["prefork", "2"] if settings.effect == "nothing" else ["threads", str(settings.concurrency)]
    quiet = ["--loglevel=error", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", f"--pool={pool[0]}", f"--concurrency={pool[1]}", *quiet])
