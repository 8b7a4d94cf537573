"""The notifier that wakes other processes of this host."""

from __future__ import annotations

import os
import select
import sys

import pytest

from kubesweep.queue.sqlite.notifier import SLOTS, Notifier

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="abstract sockets are Linux's; elsewhere the poll is all"
)
FILE = (1, os.getpid())


def drain(notifier: Notifier) -> bool:
    assert notifier.receiver is not None
    return bool(select.select([notifier.receiver], [], [], 0)[0])


def test_a_ring_is_heard_by_every_listener_and_only_until_it_is_answered() -> None:
    one, other, sender = Notifier(FILE), Notifier(FILE), Notifier(FILE)
    try:
        one.listen()
        other.listen()
        assert not drain(one)
        sender.notify()
        assert drain(one)
        assert drain(other)
        one.drain()
        assert not drain(one)
        assert drain(other)
    finally:
        for notifier in (one, other, sender):
            notifier.close()


def test_the_notifier_of_another_file_is_not_received() -> None:
    here, there = Notifier(FILE), Notifier((2, os.getpid()))
    try:
        here.listen()
        there.notify()
        assert not drain(here)
    finally:
        here.close()
        there.close()


def test_a_listener_too_many_has_no_ear_and_gets_the_place_of_one_that_left() -> None:
    notifiers = [Notifier(FILE) for _ in range(SLOTS)]
    late = Notifier(FILE)
    try:
        for notifier in notifiers:
            notifier.listen()
        late.listen()
        assert late.receiver is None
        notifiers[3].close()
        late.listen()
        notifiers[0].notify()
        assert drain(late)
    finally:
        for notifier in (*notifiers, late):
            notifier.close()


def test_notifying_never_blocks_without_a_reader() -> None:
    deaf, sender = Notifier(FILE), Notifier(FILE)
    try:
        deaf.listen()
        for _ in range(10_000):
            sender.notify()
        assert drain(deaf)
    finally:
        deaf.close()
        sender.close()
