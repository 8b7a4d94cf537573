"""The bell that wakes other processes of this host."""

from __future__ import annotations

import os
import select
import sys

import pytest

from kubesweep.queue.sqlite.notifier import SLOTS, Bell

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="abstract sockets are Linux's; elsewhere the poll is all"
)
FILE = (1, os.getpid())


def heard(bell: Bell) -> bool:
    assert bell.ear is not None
    return bool(select.select([bell.ear], [], [], 0)[0])


def test_a_ring_is_heard_by_every_listener_and_only_until_it_is_answered() -> None:
    one, other, ringer = Bell(FILE), Bell(FILE), Bell(FILE)
    try:
        one.listen()
        other.listen()
        assert not heard(one)
        ringer.ring()
        assert heard(one)
        assert heard(other)
        one.heard()
        assert not heard(one)
        assert heard(other)
    finally:
        for bell in (one, other, ringer):
            bell.close()


def test_the_bell_of_another_file_is_not_heard() -> None:
    here, there = Bell(FILE), Bell((2, os.getpid()))
    try:
        here.listen()
        there.ring()
        assert not heard(here)
    finally:
        here.close()
        there.close()


def test_a_listener_too_many_has_no_ear_and_gets_the_place_of_one_that_left() -> None:
    bells = [Bell(FILE) for _ in range(SLOTS)]
    late = Bell(FILE)
    try:
        for bell in bells:
            bell.listen()
        late.listen()
        assert late.ear is None
        bells[3].close()
        late.listen()
        bells[0].ring()
        assert heard(late)
    finally:
        for bell in (*bells, late):
            bell.close()


def test_ringing_never_blocks_however_long_nobody_answers() -> None:
    deaf, ringer = Bell(FILE), Bell(FILE)
    try:
        deaf.listen()
        for _ in range(10_000):
            ringer.ring()
        assert heard(deaf)
    finally:
        deaf.close()
        ringer.close()
