"""What a program's end becomes: a message, and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from kubesweep.errors import KubesweepError, Outage, SpecError
from kubesweep_cli.shell.current_terminal import choose_terminal, current_terminal
from kubesweep_cli.shell.endings import run_to_end
choose_terminal(color=False, verbosity={verbosity})
def work():
    {body}
run_to_end(work, current_terminal, lambda error: "the place of the traceback", extra="kubectl")
"""


def ended(body: str, verbosity: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(body=body, verbosity=verbosity)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(5)", 5, ""),
        ("raise SpecError('Code', 'a sentence\\nand help')", 2, "error: a sentence\nand help\n"),
        ("raise Outage('Reason', 'no answer')", 3, "error: no answer\n"),
        ("raise KubesweepError('nothing is there')", 1, "error: nothing is there\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, ""),
        (
            "import no_such_package.part",
            1,
            "error: the Python package no_such_package is not installed, which this command needs.\n"
            'Install it:  pip install "kubesweep[kubectl]"\n',
        ),
        (
            "1 / 0",
            1,
            "error: ZeroDivisionError: division by zero\nthe place of the traceback\n"
            "This is a bug in Kubesweep: please report it.\n",
        ),
    ],
)
def test_each_error_has_a_message_and_an_exit_code(body: str, code: int, said: str) -> None:
    done = ended(body)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_traceback_is_shown_only_when_asked_for() -> None:
    done = ended("1 / 0", verbosity=1)
    assert (done.returncode, "Traceback" in done.stderr, "the place of" in done.stderr) == (1, True, False)


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    assert "This is a bug" in ended("import kubesweep.no_such_module").stderr


def test_an_output_that_cannot_be_written_is_a_failure() -> None:
    with open("/dev/full", "w") as full:
        program = PROGRAM.format(body="print('text')", verbosity=0)
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, "stdout cannot be written: No space left on device." in done.stderr) == (1, True)


def test_the_log_of_kubesweep_has_the_traceback(tmp_path: Path) -> None:
    program = (
        "from kubesweep_cli.shell.logs import start_logs\nfrom kubesweep_cli.main import _record\n"
        "start_logs(0)\nprint(_record(ZeroDivisionError('by nought')))"
    )
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    log = tmp_path / "kubesweep" / "kubesweep.log"
    assert (done.stdout, done.stderr) == (f"The traceback is in {log}; -v shows it here.\n", "")
    assert "ZeroDivisionError: by nought" in log.read_text()
