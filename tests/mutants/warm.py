"""A process that runs pytest once for each line that it reads, each time in a fork of itself.

Starting Python and importing pytest and the libraries takes longer than most selections of tests. So they are imported here once, and
nothing of this project, because a mutant may be in it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import warnings
from typing import NoReturn

import pytest

LIBRARIES = (
    *("hypothesis.strategies", "pytest_asyncio.plugin", "xdist.plugin", "msgspec", "pydantic", "yaml", "cronsim"),
    *(
        "aiohttp.web",
        "redis.asyncio",
        "psycopg",
        "psycopg_pool",
        "prometheus_client",
        "jinja2",
        "typer",
        "rich.console",
    ),
)
# Assertions in the libraries need not be rewritten.
OPTIONS = (
    "-x",
    "-q",
    "--no-header",
    "--tb=line",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


def main() -> None:
    """Reads {"tests": arguments, "output": file}. Prints the pid of the fork, and its exit code when it ends."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(request["tests"], request["output"])
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(tests: list[str], output: str) -> NoReturn:
    """In a session of its own, so that it can be ended with all that it starts."""
    os.setsid()
    for descriptor, file, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, descriptor)
    os.dup2(1, 2)
    sys.exit(int(pytest.main([*OPTIONS, *tests])))


if __name__ == "__main__":
    main()
