"""Runs one target in chunks of cases, each chunk with a seed of its own, until the time or the number of cases is reached.

The seed and the number of cases of a chunk repeat it exactly. A case that fails is reduced by Hypothesis and saved.
"""

from __future__ import annotations

import hashlib
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.catalog import TARGETS
from tests.fuzz.target import Case, Target, encode_case
from tests.kits.memory import pytest_configure

__all__ = ["Failure", "Result", "fuzz", "fuzz_named", "run_case"]

SAVED = Path(".build/fuzz")
REDUCING = 30.0  # seconds


class TooSlow(AssertionError):
    """One case took more processor time than its target allows."""


@dataclass(frozen=True)
class Failure:
    case: str  # the smallest one that fails, as JSON
    file: str
    error: str  # with traceback
    repeat: str  # a command


@dataclass
class Result:
    """``processor``: seconds of processor time; ``slowest``: those of the slowest case."""

    name: str
    cases: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    slowest: float = 0.0
    first_seed: int = 0
    failure: Failure | None = None

    @property
    def line(self) -> str:
        rate, busy = (self.cases / max(seconds, 0.001) for seconds in (self.seconds, self.processor))
        outcome = "FAILED" if self.failure else "passed"
        return (
            f"{self.name:10} {self.cases:>9,} cases {self.seconds:>7.1f} s {rate:>6,.0f}/s, {busy:>6,.0f}/s of processor time"
            f"   slowest {self.slowest * 1000:>7,.1f} ms   seed {self.first_seed}   {outcome}"
        )


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TooSlow after so many seconds of this process's own processor time, whatever else the machine does."""

    def stop(_signal: int, _frame: Any) -> None:
        raise TooSlow(f"this case needs more than {seconds} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def run_case(target: Target, case: Case) -> None:
    """Check one case. Raises what the check raises, or TooSlow."""
    with limited(target.seconds):
        target.check(case)


def fuzz(target: Target, first_seed: int, *, seconds: float | None, cases: int | None, save: Path = SAVED) -> Result:
    """Chunks with ``first_seed`` and the seeds after it. Ends at the first failure."""
    result, began, before = Result(target.name, first_seed=first_seed), time.monotonic(), _processor_time()
    number = first_seed
    while True:
        size = target.chunk if cases is None else min(target.chunk, cases - result.cases)
        result.failure = _chunk(target, number, size, result, save)
        result.seconds, result.processor = time.monotonic() - began, _processor_time() - before
        late = seconds is not None and result.seconds >= seconds
        if result.failure or late or (cases is not None and result.cases >= cases):
            return result
        number += 1


def fuzz_named(name: str, first_seed: int, seconds: float | None, cases: int | None) -> Result:
    """:func:`fuzz` in a process of its own, which finds the target by its name."""
    pytest_configure()  # temporary files in memory
    return fuzz(TARGETS[name], first_seed, seconds=seconds, cases=cases)


def _chunk(target: Target, number: int, size: int, result: Result, save: Path) -> Failure | None:
    failing: list[tuple[Case, BaseException]] = []
    reducing, enough = False, 0.0

    @seed(number)
    @settings(
        max_examples=size,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    @given(target.cases)
    def each(case: Case) -> None:
        nonlocal reducing, enough
        if reducing and time.monotonic() > enough:
            return  # a slow case would be reduced for many minutes: keep the smallest one so far
        result.cases += not reducing
        before = _processor_time()
        try:
            run_case(target, case)
        except Exception as error:
            enough = enough or time.monotonic() + REDUCING
            reducing = True
            failing[:] = [(case, error)]
            raise
        finally:
            result.slowest = max(result.slowest, _processor_time() - before)

    try:
        each()
    except Exception:
        if not failing:  # not a case: the target itself is wrong
            raise
        return _failure(target, number, size, *failing[0], save)
    return None


def _processor_time() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _failure(target: Target, number: int, size: int, case: Case, error: BaseException, save: Path) -> Failure:
    text = encode_case(case)
    save.mkdir(parents=True, exist_ok=True)
    file = save / f"{target.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    file.write_text(text)
    shown = "".join(traceback.format_exception(error, limit=-8))
    return Failure(text, str(file), shown, f'make fuzz FUZZ="--seed {number} --cases {size} {target.name}"')
