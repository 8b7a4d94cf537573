"""Fuzzing from the command line: ``python -m tests.fuzz --seconds 60 yaml urls``. docs/testing.md has the targets and their results."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.fuzz.catalog import TARGETS
from tests.fuzz.runner import Result, fuzz_named, run_case
from tests.fuzz.target import decode_case
from tests.kits.memory import pytest_configure

SECONDS = 10.0


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"targets, default all: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, help=f"for each target; default {SECONDS:g} without --cases")
    parser.add_argument("--cases", type=int, help="for each target")
    parser.add_argument("--processes", type=int, default=1, help="targets that run at once")
    parser.add_argument("--seed", type=int, help="of the first chunk; the following chunks have the seeds after it")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one saved case of the target NAME")
    found = parser.parse_args(given)
    unknown = [name for name in found.names if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}: name some of {', '.join(TARGETS)}")
    if found.replay and len(found.names) != 1:
        parser.error("--replay needs the name of one target")
    if found.seconds is None and found.cases is None:
        found.seconds = SECONDS
    return found


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    if options.replay:
        pytest_configure()  # temporary files in memory
        run_case(TARGETS[options.names[0]], decode_case(options.replay.read_text()))
        print("the case passes")
        return 0
    seed = random.SystemRandom().randrange(10**6) * 1000 if options.seed is None else options.seed
    names = options.names or list(TARGETS)
    failed = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        running = [pool.submit(fuzz_named, name, seed, options.seconds, options.cases) for name in names]
        for each in as_completed(running):
            result = each.result()
            print(result.line, flush=True)
            if result.failure:
                failed.append(result)
    for result in failed:
        _report(result)
    return 1 if failed else 0


def _report(result: Result) -> None:
    assert result.failure is not None
    failure = result.failure
    shown = failure.case if len(failure.case) <= 2000 else f"{failure.case[:2000]}... (all of it is in the file)"
    print(f"\n{result.name} failed for\n{shown}\n{failure.error}")
    print(f"run this case again: .venv/bin/python -m tests.fuzz {result.name} --replay {failure.file}")
    print(f"find it again:       {failure.repeat}")
    print(f"after the fix, keep it: move it to tests/fuzz/found/{result.name}/, under a name that says what was wrong")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
