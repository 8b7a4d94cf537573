"""The end of a run's output: what the tests printed, and the seconds of each shard and file."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.e2e.shards import group_of

PASSED = ("passed", "failed", "error", "skipped", "")  # the empty one is for setup and teardown of passed tests


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = [each for outcome in PASSED for each in terminalreporter.stats.get(outcome, ())]
    reports = [each for each in found if isinstance(each, pytest.TestReport)]
    if reports:
        _measured(terminalreporter, reports)
        _durations(terminalreporter, reports)


def _measured(terminal: pytest.TerminalReporter, reports: list[pytest.TestReport]) -> None:
    printed = [each for each in reports if each.when == "call" and each.passed and each.capstdout.strip()]
    if printed:
        terminal.section("measured")
    for each in printed:
        terminal.write_line(each.nodeid)
        terminal.write_line(each.capstdout.strip("\n"))


def _durations(terminal: pytest.TerminalReporter, reports: list[pytest.TestReport]) -> None:
    took: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for each in reports:
        took[group_of(each.nodeid)][each.nodeid.partition("::")[0]] += each.duration
    terminal.section("seconds by shard and file")
    for shard, files in sorted(took.items()):
        terminal.write_line(f"{sum(files.values()):7.1f}  {shard}")
        for file, seconds in sorted(files.items(), key=lambda pair: -pair[1]):
            terminal.write_line(f"{seconds:11.1f}  {file}")
