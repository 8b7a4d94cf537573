"""How a column of the archive converts the values of the table's column. Pure.

PostgreSQL converts on INSERT by assignment casts (https://www.postgresql.org/docs/current/typeconv-query.html): a value that
exceeds length or range is an error of its row, but fractions are rounded and times of day truncated without an error.
"""

from __future__ import annotations

import re
from enum import Enum


class Conversion(Enum):
    EXACT = "exact"
    MAY_CHANGE = "may be refused, or change its format"
    LOSSY = "loses a part without an error"


DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
RANKS = {"smallint": 1, "integer": 2, "bigint": 3}
FLOATS = frozenset({"real", "double precision"})
TEXTS = frozenset({"text", "character varying", "character", "bpchar", "citext"})
TRUNCATED = frozenset(
    {
        ("interval", "time without time zone"),
        ("time with time zone", "time without time zone"),
        ("inet", "cidr"),
    }
)
_NUMBERS = re.compile(r"\((-?\d+(?:,-?\d+)*)\)")


def _split(exact: str) -> tuple[str, tuple[int, ...]]:
    """The name and the numbers of a type such as ``timestamp(3) with time zone``."""
    found = _NUMBERS.search(exact)
    if found is None:
        return exact, ()
    return exact.replace(found[0], ""), tuple(int(each) for each in found[1].split(","))


def conversion(source: str, target: str) -> Conversion:
    """The conversion from the type ``source`` to the type ``target``, both as format_type writes them."""
    if source == target:
        return Conversion.EXACT
    if source.endswith("[]") and target.endswith("[]"):
        return conversion(source[:-2], target[:-2])
    (kind, args), (other, room) = _split(source), _split(target)
    if (
        other in ("name", '"char"', "money")
        or (kind, other) in TRUNCATED
        or (kind.startswith("interval") and other.startswith("interval"))
    ):
        return Conversion.LOSSY
    if other in TEXTS:
        return _of_text(kind, args, other, room)
    if kind in DIGITS or kind == "numeric" or kind in FLOATS:
        return _of_number(kind, args, other, room)
    if kind.startswith(("timestamp", "date", "time")):
        return _of_time(kind, args, other, room)
    return Conversion.MAY_CHANGE


def _of_text(kind: str, args: tuple[int, ...], other: str, room: tuple[int, ...]) -> Conversion:
    if not room and other != "character":
        return Conversion.MAY_CHANGE if kind.startswith(("timestamp", "date", "time", "interval")) else Conversion.EXACT
    fits = kind == other and bool(args) and bool(room) and args[0] <= room[0]
    return Conversion.EXACT if fits else Conversion.MAY_CHANGE


def _of_number(kind: str, args: tuple[int, ...], other: str, room: tuple[int, ...]) -> Conversion:
    if other in RANKS:
        if kind in RANKS:
            return Conversion.EXACT if RANKS[kind] <= RANKS[other] else Conversion.MAY_CHANGE
        return Conversion.LOSSY
    if other in FLOATS:
        exact = {
            "smallint": FLOATS,
            "integer": {"double precision"},
            "real": FLOATS,
            "double precision": {"double precision"},
        }
        return Conversion.EXACT if other in exact.get(kind, ()) else Conversion.LOSSY
    if other != "numeric":
        return Conversion.MAY_CHANGE
    if kind in FLOATS:
        return Conversion.LOSSY  # only 15 digits
    if not room:
        return Conversion.EXACT
    whole, scale = room[0] - room[-1] * (len(room) > 1), room[1] if len(room) > 1 else 0
    if kind in DIGITS:
        return Conversion.EXACT if DIGITS[kind] <= whole else Conversion.MAY_CHANGE
    if not args or (args[1] if len(args) > 1 else 0) > scale:
        return Conversion.LOSSY
    return Conversion.EXACT if args[0] - (args[1] if len(args) > 1 else 0) <= whole else Conversion.MAY_CHANGE


def _of_time(kind: str, args: tuple[int, ...], other: str, room: tuple[int, ...]) -> Conversion:
    if kind == "date":
        return Conversion.EXACT if other == "timestamp without time zone" else Conversion.MAY_CHANGE
    if kind.startswith("timestamp") and other in ("date", "time without time zone", "time with time zone"):
        return Conversion.LOSSY
    if room and room[0] < (args[0] if args else 6):
        return Conversion.LOSSY
    return Conversion.EXACT if kind == other else Conversion.MAY_CHANGE


def sqlite_conversion(source: str, target: str) -> Conversion:
    """The same by SQLite's affinities (https://www.sqlite.org/datatype3.html): text that looks like a number becomes one, even
    ``007``, and a column with the affinity REAL rounds integers beyond 2^53."""
    if source == target or target in ("BLOB", "TEXT"):
        return Conversion.EXACT
    if source in ("TEXT", "BLOB"):
        return Conversion.LOSSY
    return Conversion.LOSSY if source in ("INTEGER", "NUMERIC") and target == "REAL" else Conversion.EXACT
