"""The first process of a container handles SIGTERM before anything else, and the preStop hook waits for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kubesweep_worker.pod.start import _has_handler, wait_for_handler
from tests.kits.deadlines import scaled

DEAF = "import signal; print(); input(); signal.signal(signal.SIGTERM, lambda *_: None); print(flush=True); input()"
DURING_A_FINALIZER = """
import os, signal, sys, types

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))  # the handler runs between two instructions of here

sys.modules["{module}"] = types.SimpleNamespace(main=lambda: (Last() and None, print("went on")))
sys.argv = ["program", "work"]
from {program} import main
main()
"""


def test_the_hook_returns_when_the_process_catches_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", DEAF], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert not _has_handler(str(process.pid))
        process.stdin.write("\n")
        process.stdin.flush()
        wait_for_handler(str(process.pid))
        process.stdout.readline()
        assert _has_handler(str(process.pid))
        process.stdin.write("\n")
    wait_for_handler(str(process.pid))  # that is gone: there is nothing to wait for


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("kubesweep_worker.pod.start", "kubesweep_worker.pod.main"),
        ("kubesweep_controller.start", "kubesweep_controller.main"),
    ],
)
def test_sigterm_ends_a_program_that_has_no_jobs_wherever_it_meets_it(program: str, module: str) -> None:
    code = DURING_A_FINALIZER.format(program=program, module=module)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=scaled(60))
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "", "")
