"""When a schedule fires: cron in a time zone, or every period since the epoch. No function reads a clock.

A cron expression has the meaning that Kubernetes gives it (robfig/cron v3, the parser of the CronJob controller), so a
laptop fires when the cluster would. A wall-clock time that a change to summer time skips does not fire, and one that
occurs twice fires twice. Day of month and day of week are alternatives unless one of them is ``*``.
"""

from __future__ import annotations

import difflib
import math
import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Protocol

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_CRON_LENGTH = 128
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = "minute hour day-of-month month day-of-week"
# datetime cannot hold more, and cronsim searches up to 50 years ahead.
_LAST = datetime(9900, 1, 1, tzinfo=UTC).timestamp()
_NEAR = timedelta(hours=3)  # more than clocks are ever set back


class Ticks(Protocol):
    """The ticks of a schedule. Times are seconds since the epoch. ``None``: there is no such tick within 50 years."""

    @property
    def name(self) -> str:
        """The schedule as text. Ticks with equal names fire at equal times."""
        ...

    def next(self, after: float) -> float | None:
        """The first tick strictly after."""
        ...

    def latest(self, at: float) -> float | None:
        """The last tick at or before."""
        ...

    def between(self, after: float, until: float, most: int = 1000) -> tuple[float, ...]:
        """The first ``most`` ticks in ``(after, until]``."""
        ...


class _TickSequence:
    def next(self, after: float) -> float | None:
        raise NotImplementedError

    def between(self, after: float, until: float, most: int = 1000) -> tuple[float, ...]:
        found: list[float] = []
        tick = self.next(after)
        while tick is not None and tick <= until and len(found) < most:
            found.append(tick)
            tick = self.next(tick)
        return tuple(found)


@dataclass(frozen=True)
class Every(_TickSequence):
    """Multiples of ``period`` seconds since the epoch, the same for every process."""

    period: float

    @property
    def name(self) -> str:
        return f"every {self.period:g}s"

    def __post_init__(self) -> None:
        if not self.period >= 0.001 or math.isinf(self.period):
            raise ValueError(f"a period of {self.period} seconds is not possible: it must be at least 1ms")

    def _tick(self, number: int) -> float:
        return number * round(self.period * 1000) / 1000

    def next(self, after: float) -> float:
        number = math.floor(after / self.period) - 1
        while self._tick(number) <= after:
            number += 1
        return self._tick(number)

    def latest(self, at: float) -> float:
        number = math.floor(at / self.period) + 1
        while self._tick(number) > at:
            number -= 1
        return self._tick(number)


@dataclass(frozen=True)
class Cron(_TickSequence):
    """A five-field cron expression or one of ``MACROS``, in an IANA zone. Raises ValueError if either is invalid."""

    expression: str
    time_zone: str = "Etc/UTC"

    @property
    def name(self) -> str:
        return f"{self.expression} ({self.time_zone})"

    def __post_init__(self) -> None:
        find_zone(self.time_zone)
        self._walls(datetime(2000, 1, 1), reverse=False)  # noqa: DTZ001 wall-clock time

    @cached_property
    def _zone(self) -> tzinfo:
        return find_zone(self.time_zone)

    @cached_property
    def _fields(self) -> list[str]:
        return _cron_fields(self.expression)

    def _walls(self, start: datetime, *, reverse: bool) -> CronSim:
        """The matching wall-clock times (without a zone), strictly after or before ``start``."""
        fields = self._fields
        try:
            sim = CronSim(" ".join(fields), start, reverse=reverse)
        except CronSimError as error:
            raise ValueError(
                f'cron "{self.expression}": {str(error).lower()}; the fields are: {_FIELDS}, such as "*/5 * * * *"'
            ) from None
        sim.day_and = _is_star(fields[2]) or _is_star(fields[4])
        return sim

    def next(self, after: float) -> float | None:
        return None if after >= _LAST else self._nearest(max(math.floor(after), -1), reverse=False)

    def latest(self, at: float) -> float | None:
        return None if at < 0 else self._nearest(math.floor(min(at, _LAST)) + 1, reverse=True)

    def _nearest(self, bound: int, *, reverse: bool) -> float | None:
        """The tick next to ``bound`` on one side of it.

        If the zone's offset does not change nearby, wall-clock times and ticks have the same order. Otherwise a time may
        be skipped or occur twice, so all near ones are compared.
        """
        side = -1 if reverse else 1
        local = datetime.fromtimestamp(bound, self._zone).replace(tzinfo=None, fold=0)
        if self._steady(bound):
            wall = next(self._walls(local, reverse=reverse), None)
            ticks = self._instants(wall) if wall else []
            if len(ticks) == 1 and self._steady(ticks[0]):
                return ticks[0] if ticks[0] >= 0 else None
        best: tuple[float, datetime] | None = None
        for wall in self._walls(local - side * _NEAR, reverse=reverse):
            if best and (wall - best[1]) * side > _NEAR:
                break
            for tick in self._instants(wall):
                if (tick - bound) * side > 0 and (best is None or (best[0] - tick) * side > 0):
                    best = tick, wall
        return best[0] if best and best[0] >= 0 else None

    def _steady(self, at: float) -> bool:
        there = datetime.fromtimestamp(at, UTC)
        return (there - _NEAR).astimezone(self._zone).utcoffset() == (there + _NEAR).astimezone(self._zone).utcoffset()

    def _instants(self, wall: datetime) -> list[float]:
        """The times at which the clocks of the zone show ``wall``: one, none or two."""
        found = (wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        real = {at for at in found if at.astimezone(self._zone).replace(tzinfo=None, fold=0) == wall}
        return sorted(at.timestamp() for at in real)


def find_zone(name: str) -> tzinfo:
    """The IANA zone. Raises ValueError, which names the nearest zones."""
    if name in ("UTC", "Etc/UTC"):
        return UTC  # works without a time zone database
    if name and name[0].isupper() and name != "Local":
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    zones = zoneinfo.available_timezones() - {"localtime", "posixrules"}
    if not zones:
        raise ValueError('this machine has only the time zone UTC: install the package "tzdata"')
    near = _nearest_zones(name, zones)
    hint = f"did you mean {' or '.join(near)}?" if near else "write an IANA name such as America/Sao_Paulo or Etc/UTC"
    raise ValueError(f'unknown time zone "{name[:64]}": {hint}')


def _nearest_zones(name: str, zones: set[str]) -> list[str]:
    """Compare without case, underscores and (also) the area: users often get these wrong."""

    def plain(text: str) -> str:
        return re.sub("[^a-z0-9/+-]", "", text.lower())

    known: dict[str, str] = {}
    for zone in sorted(zones):
        known.setdefault(plain(zone), zone)
        known.setdefault(plain(zone.rsplit("/", 1)[-1]), zone)
    found = difflib.get_close_matches(plain(name[:64]), known, n=3, cutoff=0.6)
    return list(dict.fromkeys(known[each] for each in found))


def _cron_fields(expression: str) -> list[str]:
    shown = expression[:MAX_CRON_LENGTH]
    if "TZ=" in expression.upper():
        raise ValueError(f'cron "{shown}": a zone inside the expression is refused: use spec.timeZone')
    if expression.startswith("@every"):
        raise ValueError(f'cron "{shown}": @every is refused: use spec.every, such as "30s"')
    if expression.startswith("@"):
        if expression not in MACROS:
            raise ValueError(f'cron "{shown}": unknown macro; known: {", ".join(MACROS)}')
        return MACROS[expression].split()
    if len(expression) > MAX_CRON_LENGTH:
        raise ValueError(f"cron: longer than {MAX_CRON_LENGTH} characters")
    fields = expression.upper().split()
    if len(fields) != 5:
        hint = "; seconds are not supported: use spec.every" if len(fields) == 6 else ""
        raise ValueError(f'cron "{shown}": {len(fields)} fields instead of 5 ({_FIELDS}){hint}')
    for field in fields:
        unknown = [word for word in re.findall("[A-Z]+", field) if word not in _MONTHS + _DAYS]
        if unknown or not re.fullmatch("[0-9A-Z*?/,-]+", field):
            raise ValueError(f'cron "{shown}": "{field}" is not valid in Kubernetes')
    if "7" in re.findall("[0-9]+", fields[4].split("/")[0]):
        raise ValueError(f'cron "{shown}": Kubernetes has no weekday 7: Sunday is 0')
    return [field.replace("?", "*") for field in fields]


def _is_star(field: str) -> bool:
    return any(term in ("*", "*/1") for term in field.split(","))


def make_ticks(*, schedule: str | None = None, every: float | None = None, time_zone: str = "Etc/UTC") -> Ticks:
    """The ticks of a cron ``schedule``, or of ``every`` (seconds); give exactly one. Raises ValueError."""
    if (schedule is None) == (every is None):
        raise ValueError("exactly one of schedule and every is needed")
    return Every(every) if every is not None else Cron(schedule or "", time_zone)
