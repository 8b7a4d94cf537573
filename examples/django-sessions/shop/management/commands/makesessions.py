"""Fills the session store through Django's backend, with its keys, signed payloads and model."""

from __future__ import annotations

import random
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.utils import timezone

SAVED = 200  # saved one by one through SessionStore.save, as requests do; the others are created in bulk
PAYLOADS = 500  # number of different baskets
MARGIN = timedelta(hours=1)  # so that no session expires while an example runs


class Command(BaseCommand):
    help = "Create sessions: 60 % expired during the last 30 days, the others valid for up to 14 days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=300_000)
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, count: int, seed: int, **options: Any) -> None:
        draw = random.Random(seed)
        one_by_one = min(SAVED, count)
        for _ in range(one_by_one):
            session = SessionStore()
            session["basket"] = basket(draw)
            session.set_expiry(expiry(draw, timezone.now()))
            session.save()
        Session.objects.bulk_create(rows(draw, count - one_by_one), batch_size=2_000)
        self.stdout.write(f"{count} sessions made")


def rows(draw: random.Random, count: int) -> Iterator[Session]:
    now = timezone.now()
    store = SessionStore()
    payloads = [store.encode({"basket": basket(draw)}) for _ in range(PAYLOADS)]
    for _ in range(count):
        yield Session(
            session_key="".join(draw.choices(VALID_KEY_CHARS, k=32)),
            session_data=draw.choice(payloads),
            expire_date=expiry(draw, now),
        )


def expiry(draw: random.Random, now: datetime) -> datetime:
    if draw.random() < 0.6:
        when = now - MARGIN - draw.random() * timedelta(days=30)
    else:
        when = now + MARGIN + draw.random() * timedelta(days=14)
    return when.replace(microsecond=0) if draw.random() < 0.1 else when  # SQLite's text is shorter then


def basket(draw: random.Random) -> list[int]:
    return [draw.randrange(100_000) for _ in range(draw.randrange(1, 8))]
