"""``kubesweep-worker``, the command of the pods that the controller creates: ``work`` in a Deployment, ``tick`` in a CronJob.

start.py is its entry point, work.py the worker's pod, tick.py the CronJob's pod. ``dead`` and ``check`` are for people: they run beside a
worker or in a pod of its template, and print to stdout. A pod gets its configuration from the environment and from files mounted from
Secrets; it has no access to the Kubernetes API. It waits for what may appear or change later (Secrets, passwords). An error that only
another pod template fixes ends the process with exit code 2.

Each command imports its code when it runs, so that a pod loads no more than it needs.
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
from kubesweep.streams import ignore_write_errors, open_missing
from kubesweep_worker.pod.environment import log_level

log = logging.getLogger("kubesweep.pod")
USAGE, UNREACHABLE = 2, 3  # exit codes
MOST = 100_000  # --most


def main(argv: list[str] | None = None) -> NoReturn:
    """Run ``kubesweep-worker``; start.py has installed a handler for SIGTERM."""
    open_missing()
    sys.exit(run(_arguments(argv), os.environ))


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run a command to its end; returns the exit code."""
    try:
        configure(log_level(environment), all_loggers=True)
        return _COMMANDS[arguments.command](environment, arguments)
    except SpecError as error:
        log.critical("%s", error)
        return USAGE
    except ModuleNotFoundError as error:
        log.critical('%s: the image needs pip install "kubesweep[worker]"', error)
        return USAGE
    except Outage as outage:
        log.error("%s", outage, extra={"reason": outage.reason})
        return UNREACHABLE


def _work(environment: Mapping[str, str], _: argparse.Namespace) -> int:
    from kubesweep_worker.pod.work import work
    from kubesweep_worker.runtime.event_loop import run as run_fast

    return run_fast(work(environment))


def _tick(environment: Mapping[str, str], _: argparse.Namespace) -> int:
    from kubesweep_worker.pod.tick import tick

    return asyncio.run(tick(environment))


def _dead(environment: Mapping[str, str], given: argparse.Namespace) -> int:
    from kubesweep_worker.pod.dead import Selection, dead

    ignore_write_errors()  # the reader may be gone
    selection = Selection(given.error, tuple(given.key), retrying=given.retrying, most=given.most)
    return asyncio.run(dead(environment, selection))


def _check(environment: Mapping[str, str], given: argparse.Namespace) -> int:
    from kubesweep_worker.pod.check import check
    from kubesweep_worker.preflight import Options

    ignore_write_errors()
    options = Options(try_write=given.try_write, probe=given.probe)
    return asyncio.run(check(environment, options, as_json=given.output == "json", sql=given.sql))


_COMMANDS = {"work": _work, "tick": _tick, "dead": _dead, "check": _check}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(prog="kubesweep-worker", description="What runs in the pods of a SweepSchedule.")
    parser.add_argument("--version", action="version", version=f"kubesweep {version('kubesweep')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="work|tick|dead|check")
    commands.add_parser("work", help="work on the jobs of one schedule until SIGTERM")
    commands.add_parser("tick", help="enqueue one tick of one schedule")
    dead = commands.add_parser("dead", help="print the schedule's dead letters as JSON")
    dead.add_argument("--error", metavar="CLASS", help="only rows with this error")
    dead.add_argument("--key", action="append", default=[], help="only this row, such as 42; may be repeated")
    dead.add_argument("--retrying", action="store_true", help="rows in retry instead of dead letters")
    dead.add_argument("--most", type=_number, default=100, metavar="N", help="how many to print (default 100)")
    check = commands.add_parser("check", help="check the database and the effect; changes nothing")
    check.add_argument("--sql", action="store_true", help="show the exact SQL and its query plan")
    check.add_argument("--try-write", action="store_true", help="try the write on 10 rows, and roll it back")
    check.add_argument("--probe", action="store_true", help="send a request without an effect to the receiver")
    check.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how to print the report")
    return parser.parse_args(argv)


def _number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {MOST}")
    return number
