"""What a help page imports. Its time depends on that: docs/testing.md has the measured one."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The slow ones: drivers, servers, terminal libraries, models.
HEAVY = (
    "psycopg",
    "aiohttp",
    "rich",
    "asyncio",
    "redis",
    "prometheus_client",
    "jinja2",
    "kubesweep.api.models",
)
PROGRAM = """
import sys
from kubesweep_cli.start import main
sys.argv = ["kubesweep", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(*sorted(sys.modules), file=sys.stderr)
    sys.exit(end.code)
"""


def modules(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["dead", "list", "-h"], ["help", "check"], ["version"], ["completion", "zsh"]],
)
def test_a_help_page_imports_nothing_slow(arguments: list[str]) -> None:
    loaded = modules(*arguments)
    assert "kubesweep_cli.main" in loaded
    assert [name for name in HEAVY if name in loaded] == []
    # typer reads the arguments of a command with pydantic.
    assert arguments != ["--help"] or "pydantic" not in loaded
