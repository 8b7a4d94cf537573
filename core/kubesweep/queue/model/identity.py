"""How the queue identifies things: a schedule, the version of its plan, and a row's key."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from kubesweep.text import escaped

Key = tuple[str, ...]
T = TypeVar("T")
# What decoding raises for a value that another program wrote into the queue.
UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, msgspec.MsgspecError)
LOCAL = "local"  # ``ScheduleRef.install`` of a queue without a controller

_encode_key = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(Key)


class ScheduleRef(msgspec.Struct, frozen=True, order=True):
    """The schedule that an operation is about. ``uid`` distinguishes a re-created schedule from a deleted one of its name."""

    install: str
    namespace: str
    name: str
    uid: str

    @property
    def prefix(self) -> str:
        """The hash tag that all keys of this schedule share: ``{ks:<install>/<namespace>/<name>/<uid8>}``."""
        return f"{{ks:{self.install}/{self.namespace}/{self.name}/{self.uid[:8]}}}"

    def database(self, name: str) -> ScheduleRef:
        """Where the queue keeps what all schedules of the namespace know of a database. No schedule can have this name."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        return ScheduleRef(self.install, self.namespace, f".health-{digest[8:24]}", digest)

    @classmethod
    def local(cls, namespace: str, name: str) -> ScheduleRef:
        """The reference of a schedule in a file. Its uid is derived from its name, so all processes use the same one."""
        uid = uuid.uuid5(uuid.NAMESPACE_URL, f"kubesweep.dev/local/{namespace}/{name}")
        return cls(LOCAL, namespace, name, str(uid))


class PlanVersion(msgspec.Struct, frozen=True):
    """The compiled plan that a job was made for. Equal hashes are the same plan, whatever their generation.

    ``kubesweep.api.plan.Plan.version`` computes the hash.
    """

    generation: int
    hash: str

    def same(self, other: PlanVersion) -> bool:
        return self.hash == other.hash

    def newer_than(self, other: PlanVersion) -> bool:
        """True where this plan replaces ``other``. Two plans of one generation replace each other, so neither waits."""
        return not self.same(other) and self.generation >= other.generation


def key_text(key: Key) -> str:
    """A key as one line of text, for sets and for people: ``["42"]``, ``["eu","17"]``."""
    return _encode_key(key).decode()


def parse_key(text: str) -> Key:
    """The inverse of :func:`key_text`. A bare value is a key of one column: ``42`` means ``["42"]``."""
    try:
        return _decode_key.decode(text)
    except msgspec.DecodeError:
        return (text,)


def plain_key(key: Key) -> str:
    """A key for people: ``42`` for a single one, ``["eu","17"]`` for a composite one and for one that looks like it.

    Characters that a terminal cannot show are escaped. :func:`parse_key` takes both forms.
    """
    bare = len(key) == 1 and key[0].isprintable() and parse_key(key[0]) == key
    return key[0] if bare else escaped(key_text(key))


def to_json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def reader(kind: type[T]) -> Callable[[bytes | str], T | None]:
    """Reads the JSON of one ``kind``. None where there is none, or none that this version can read."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: bytes | str) -> T | None:
        try:
            return decode(text) if text else None
        except msgspec.MsgspecError:
            return None

    return read
