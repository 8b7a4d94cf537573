"""What kubectl and the shells get to complete ``kubectl sweep``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.deadlines import scaled
from tests.unit.kubectl.api import Object, Request, page, serve, write_kubeconfig
from tests.unit.kubectl.objects import schedule

COMPLETE = [sys.executable, "-c", "from kubectl_sweep.main import complete; complete()"]
FLEET = [
    schedule(meta={"name": name, "namespace": namespace}, errors=[{"error": error, "count": 1, "sampleKeys": []}])
    for name, namespace, error in (
        ("close-carts", "shop", "Http500"), ("close-idle", "shop", "CheckViolation"), ("expire", "support", "Http422"),
    )
]  # fmt: skip


def answer(request: Request) -> tuple[int, Object | list[Object]]:
    parts = request.path.split("/")
    space = parts[parts.index("namespaces") + 1] if "namespaces" in parts else None
    return page(*(each for each in FLEET if space in (None, each["metadata"]["namespace"])))


def completed(folder: Path, *words: str) -> tuple[list[str], str]:
    """The candidates, without their help, and the directive."""
    with serve(answer) as api:
        environ = {**os.environ, "KUBECONFIG": write_kubeconfig(folder, api.url)}
        done = subprocess.run([*COMPLETE, *words], env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *candidates, directive = done.stdout.splitlines()
    return [each.partition("\t")[0] for each in candidates if each], directive


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        (["sta"], ["status"]),
        (["dead", "re"], ["retry"]),
        (["status", ""], ["close-carts", "close-idle"]),
        (["status", "close-i"], ["close-idle"]),
        (["status", "-n", "support", ""], ["expire"]),
        (["-n", "support", "dead", "retry", ""], ["expire"]),
        (["trigger", "close-idle", "close-c"], ["close-carts"]),
        (["suspend", "-A", ""], ["close-carts", "close-idle", "expire"]),
        (["status", "close-idle", "-n", ""], ["shop", "support"]),
        (["get", "--namespace", "su"], ["support"]),
        (["dead", "retry", "close-idle", "--error", ""], ["CheckViolation"]),
        (["dead", "list", "--error", "Http"], ["Http500"]),
        (["throttle", "close-idle", "re"], ["reset"]),
        (["get", "-o", "w"], ["wide"]),
        (["check", "close-idle", "--try"], ["--try-write"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_kubectl_gets_the_candidates_one_a_line(tmp_path: Path, words: list[str], candidates: list[str]) -> None:
    assert completed(tmp_path, *words) == (candidates, ":4")


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("kubectl-sweep status ", ["close-carts", "close-idle"]),
        ("kubectl-sweep status -n support ", ["expire"]),
        ("kubectl-sweep dead purge -A ex", ["expire"]),
        ("kubectl-sweep suspend --all -n su", ["support"]),
        ("kubectl-sweep status --kubeconfig /none ", []),
    ],
)
def test_options_behind_the_verb_count_in_a_shell_too(tmp_path: Path, line: str, candidates: list[str]) -> None:
    """Otherwise it would offer names of another namespace, or of another cluster."""
    words = {"_KUBECTL_SWEEP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    with serve(answer) as api:
        environ = {**os.environ, **words, "KUBECONFIG": write_kubeconfig(tmp_path, api.url)}
        done = subprocess.run(
            [sys.executable, "-m", "kubectl_sweep"], env=environ, capture_output=True, text=True, check=True
        )
    assert (done.stdout.split(), done.stderr) == (candidates, "")


def test_the_value_of_an_option_for_files_is_completed_with_files(tmp_path: Path) -> None:
    assert completed(tmp_path, "check", "-f", "") == ([], ":0")


def test_a_cluster_that_does_not_answer_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    environ = {**os.environ, "KUBECONFIG": write_kubeconfig(tmp_path, "http://127.0.0.1:1")}
    done = subprocess.run([*COMPLETE, "status", ""], env=environ, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == ([":4"], "")


def test_namespaces_are_those_of_the_cluster_that_the_options_before_name(tmp_path: Path) -> None:
    with serve(answer) as api:
        other = write_kubeconfig(tmp_path, api.url)
        environ = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
        words = [*COMPLETE, "--kubeconfig", other, "get", "-n", ""]
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["shop", "support", ":4"]


def test_a_resolver_that_does_not_answer_delays_no_shell_for_long(tmp_path: Path) -> None:
    hangs = "import socket, threading; socket.getaddrinfo = lambda *_, **__: threading.Event().wait()\n"
    environ = {**os.environ, "KUBECONFIG": write_kubeconfig(tmp_path, "http://cluster.example")}
    words = [sys.executable, "-c", hangs + COMPLETE[-1], "status", ""]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True, timeout=scaled(60))
    assert (done.stdout.split(), done.stderr) == ([":4"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "kubectl"])
def test_the_script_of_a_shell_is_valid_there(tmp_path: Path, shell: str) -> None:
    program = [sys.executable, "-m", "kubectl_sweep", "completion", shell]
    script = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert "_KUBECTL_SWEEP_COMPLETE" in script
    runs_it = "sh" if shell == "kubectl" else shell
    if shutil.which(runs_it):
        (tmp_path / "script").write_text(script)
        option = "--no-execute" if shell == "fish" else "-n"
        subprocess.run([runs_it, option, str(tmp_path / "script")], check=True)


def test_the_program_that_is_printed_for_kubectl_completes(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "kubectl_sweep", "completion"]
    found = tmp_path / "kubectl_complete-sweep"
    found.write_text(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    (tmp_path / "kubectl").write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -m kubectl_sweep "$@"\n')
    for each in (found, tmp_path / "kubectl"):
        each.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([found, "dea"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split("\t")[0] == "dead"
    assert done.stdout.splitlines()[-1] == ":4"


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["list"], "kubectl sweep get"),
        (["describe"], "kubectl sweep status NAME"),
        (["apply"], "kubectl apply -f FILE"),
        (["dead", "delete"], "kubectl sweep dead purge NAME"),
    ],
)
def test_a_verb_of_another_program_gets_the_one_that_does_it(words: list[str], verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kubectl_sweep", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert (done.returncode, f"`{verb}`" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("words", [["help", "dead", "retry"], ["dead", "retry", "--help"]])
def test_help_shows_the_page_of_a_verb(words: list[str]) -> None:
    program = [sys.executable, "-m", "kubectl_sweep", *words]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "kubectl sweep dead retry [OPTIONS]" in done.stdout
    assert "--dry-run" in done.stdout
