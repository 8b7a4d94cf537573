"""``kubesweep-worker``, the command of the pods that the controller creates: ``work`` in a Deployment, ``tick`` in a CronJob.

start.py is its entry point, work.py the worker's pod, tick.py the CronJob's pod. A pod gets its configuration from the
environment and from files mounted from Secrets; it has no access to the Kubernetes API. It waits for what may appear or
change later (Secrets, passwords). An error that only another pod template fixes ends the process with exit code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from kubesweep.errors import Outage, SpecError
from kubesweep.logging import configure
from kubesweep.streams import open_missing
from kubesweep_worker.pod.environment import log_level

log = logging.getLogger("kubesweep.pod")
USAGE, UNREACHABLE = 2, 3  # exit codes


def main(argv: list[str] | None = None) -> NoReturn:
    """Run ``kubesweep-worker``; start.py has installed a handler for SIGTERM."""
    open_missing()
    sys.exit(run(_arguments(argv), os.environ))


def run(command: str, environment: Mapping[str, str]) -> int:
    """Run ``work`` or ``tick`` to its end; returns the exit code."""
    try:
        configure(log_level(environment), all_loggers=True)
        if command == "tick":
            from kubesweep_worker.pod.tick import tick

            return asyncio.run(tick(environment))
        from kubesweep_worker.pod.work import work
        from kubesweep_worker.runtime.event_loop import run as run_fast

        return run_fast(work(environment))
    except SpecError as error:
        log.critical("%s", error)
        return USAGE
    except ModuleNotFoundError as error:
        log.critical('%s: the image needs pip install "kubesweep[worker]"', error)
        return USAGE
    except Outage as outage:
        log.error("%s", outage, extra={"reason": outage.reason})
        return UNREACHABLE


def _arguments(argv: list[str] | None) -> str:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(prog="kubesweep-worker", description="What runs in the pods of a SweepSchedule.")
    parser.add_argument("--version", action="version", version=f"kubesweep {version('kubesweep')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="work|tick")
    commands.add_parser("work", help="work on the jobs of one schedule until SIGTERM")
    commands.add_parser("tick", help="enqueue one tick of one schedule")
    return str(parser.parse_args(argv).command)
