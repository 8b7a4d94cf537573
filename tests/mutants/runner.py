"""Runs the tests of a guarantee against each mutant, in copies of the working tree, never in the tree itself.

Two mutants run at once, each in a copy of its own. A copy is used again: the changed file gets its text back, and each version of it a
modification time of its own, by which Python notices that its compiled file is another version's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.place import ROOT

COPIES = 2
PACKAGES = ("core", "cli", "console", "worker", "controller", "plugin")
LEAST_TIMEOUT = 30.0  # seconds
SLOWER = 5  # times that a mutant may take longer than the unchanged code
STOP = 10.0  # seconds for tests that are interrupted to stop their servers
NO_TESTS = 5  # pytest's exit code


class SelectionFails(Exception):
    """The tests fail without a mutant."""


class Verdict(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    TIMEOUT = "timeout"  # the tests did not end in time, so the mutant counts as killed


@dataclass(frozen=True)
class Result:
    guarantee: str
    mutant: Mutant
    verdict: Verdict
    by: str = ""  # the first test that failed


class Copy:
    """One copy of the tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions = 0
        self._server: asyncio.subprocess.Process | None = None  # see warm.py

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        file = self.root / mutant.place.file
        at = file.stat().st_mtime
        self._versions += 1
        file.write_text(mutant.text, "utf-8")
        os.utime(file, (at, at + self._versions))
        try:
            yield
        finally:
            file.write_text(mutant.original, "utf-8")
            os.utime(file, (at, at))

    async def test(self, tests: Sequence[str], timeout: float | None) -> tuple[int | None, str]:
        """pytest's exit code, None where it did not end in time, and its output."""
        server = self._server = self._server or await self._start()
        assert server.stdin is not None
        assert server.stdout is not None
        output = self.root.with_suffix(".out")
        server.stdin.write(json.dumps({"tests": tests, "output": str(output)}).encode() + b"\n")
        pid, ended = int(await server.stdout.readline()), asyncio.ensure_future(server.stdout.readline())
        done, _ = await asyncio.wait([ended], timeout=timeout)
        if not done:
            os.kill(pid, signal.SIGINT)  # lets the tests stop their servers
            await asyncio.wait([ended], timeout=STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what is left of the session
        code = int(await ended)
        return (code if done else None), output.read_text("utf-8", "replace")

    async def _start(self) -> asyncio.subprocess.Process:
        paths = [str(self.root / each) for each in (*PACKAGES, ".")]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.mutants.warm"),
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def close(self) -> None:
        if (server := self._server) is not None and server.stdin is not None:
            self._server = None
            server.stdin.close()
            await server.wait()


@contextlib.contextmanager
def copies() -> Iterator[list[Copy]]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="kubesweep-mutants-") as folder:
        roots = [Path(folder) / str(n) for n in range(COPIES)]
        for root in roots:
            for name in names:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
            (root / ".venv").symlink_to(ROOT / ".venv")
        yield [Copy(root) for root in roots]


async def run(
    trees: Sequence[Copy], todo: Sequence[tuple[str, Mutant]], report: Callable[[Result], None]
) -> list[Result]:
    """``report`` is called with each result as it arrives. Raises SelectionFails, in an ExceptionGroup, before the first mutant where a
    selection of tests fails by itself."""
    free: asyncio.Queue[Copy] = asyncio.Queue()
    for tree in trees:
        free.put_nowait(tree)
    limits: dict[tuple[str, ...], float] = {}
    results: list[Result] = []

    async def unchanged(tests: tuple[str, ...]) -> None:
        limits[tests] = await _unchanged(free, tests)

    async def mutated(name: str, mutant: Mutant) -> None:
        results.append(await _mutated(free, name, mutant, limits[mutant.place.tests]))
        report(results[-1])

    try:
        async with asyncio.TaskGroup() as group:
            for tests in dict.fromkeys(mutant.place.tests for _, mutant in todo):
                group.create_task(unchanged(tests))
        async with asyncio.TaskGroup() as group:
            for name, mutant in todo:
                group.create_task(mutated(name, mutant))
    finally:
        for tree in trees:
            await tree.close()
    return results


async def _unchanged(free: asyncio.Queue[Copy], tests: tuple[str, ...]) -> float:
    """The seconds that these tests may take for a mutant."""
    async with _taken(free) as tree:
        began = time.monotonic()
        code, output = await tree.test(tests, None)
        if code != 0:
            raise SelectionFails(f"these tests fail without a mutant: {' '.join(tests)}\n{output}")
        return max(LEAST_TIMEOUT, SLOWER * (time.monotonic() - began))


async def _mutated(free: asyncio.Queue[Copy], name: str, mutant: Mutant, limit: float) -> Result:
    async with _taken(free) as tree:
        with tree.changed(mutant):
            code, output = await tree.test(mutant.place.tests, limit)
    if code is None:
        return Result(name, mutant, Verdict.TIMEOUT)
    if code == NO_TESTS:
        raise SelectionFails(f"no tests ran: {' '.join(mutant.place.tests)}\n{output}")
    return Result(name, mutant, Verdict.KILLED if code else Verdict.SURVIVED, _first_failure(output.splitlines()))


def _first_failure(lines: Iterable[str]) -> str:
    found = (re.match(r"(?:FAILED|ERROR) (?:[\w/]+/)?(\S+)", line) for line in lines)
    return next((match[1] for match in found if match), "")


@contextlib.asynccontextmanager
async def _taken(free: asyncio.Queue[Copy]) -> AsyncIterator[Copy]:
    tree = await free.get()
    try:
        yield tree
    finally:
        free.put_nowait(tree)
