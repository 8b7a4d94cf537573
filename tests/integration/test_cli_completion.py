"""The shell's completion: commands, options and names of the queue, quickly and without a message."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.command_line import CommandLine, dead_letter
from tests.kits.deadlines import scaled


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def completed(cli: CommandLine, typed: str, **environ: str) -> list[str]:
    """What bash offers for the last word of ``typed``."""
    words = typed.split(" ")
    cli.environ |= environ
    done = cli.run(_KUBESWEEP_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_names_are_completed(cli: CommandLine) -> None:
    cli.run("trigger", "-f", cli.slow(1))
    assert completed(cli, "kubesweep sus") == ["suspend"]
    assert completed(cli, "kubesweep dead p") == ["purge"]
    assert "--watch" in completed(cli, "kubesweep status --w")
    for typed in ("kubesweep status ", "kubesweep trigger s", "kubesweep dead retry sl", "kubesweep resume "):
        assert completed(cli, typed) == ["slow"]
    assert completed(cli, "kubesweep status -n shop ") == []


def test_errors_namespaces_and_words_of_options_are_completed(cli: CommandLine) -> None:
    asyncio.run(dead_letter(cli, "one", "CarrierRefused", "east"))
    asyncio.run(dead_letter(cli, "two", "Http500", "west"))
    assert completed(cli, "kubesweep dead retry --error ") == ["CarrierRefused", "Http500"]
    assert completed(cli, "kubesweep dead retry two --error ") == ["Http500"]
    assert completed(cli, "kubesweep status -n ") == ["east", "west"]
    assert completed(cli, "kubesweep dead list -n w") == ["west"]
    assert completed(cli, "kubesweep status -n east ") == ["one"]
    assert completed(cli, "kubesweep -n east status ") == ["one"]
    assert completed(cli, "kubesweep -n west dead retry -q ") == ["two"]
    assert completed(cli, "kubesweep -n west dead list --error ") == ["Http500"]
    assert completed(cli, "kubesweep status -o ") == ["json", "table", "wide", "yaml"]
    assert completed(cli, "kubesweep throttle one p") == ["pause"]
    assert completed(cli, "kubesweep completion ") == ["bash", "fish", "zsh"]


def test_a_completion_creates_no_file(cli: CommandLine) -> None:
    queue = cli.folder / "typo" / "queue.db"
    assert completed(cli, f"kubesweep status --queue sqlite:///{queue} ") == []
    assert not queue.parent.exists()


def test_a_queue_that_cannot_be_read_completes_nothing_and_says_nothing(cli: CommandLine) -> None:
    assert completed(cli, "kubesweep status s", KUBESWEEP_QUEUE="redis://127.0.0.1:1/0") == []
    assert completed(cli, "kubesweep status s", KUBESWEEP_QUEUE="nonsense") == []


def test_a_resolver_that_does_not_answer_delays_no_shell_for_long(cli: CommandLine) -> None:
    hangs = "import socket, threading; socket.getaddrinfo = lambda *_, **__: threading.Event().wait()\n"
    words = {"_KUBESWEEP_COMPLETE": "complete_bash", "COMP_WORDS": "kubesweep status ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", hangs + "from kubesweep_cli.main import main; main()"],
        env={**cli.environ, **words, "KUBESWEEP_QUEUE": "redis://queue.example:6379/0"},
        capture_output=True, text=True, check=True, timeout=scaled(60),
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == ([], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_valid_there(cli: CommandLine, shell: str) -> None:
    script = cli.run("completion", shell).stdout
    assert "_KUBESWEEP_COMPLETE" in script
    if shutil.which(shell):
        (cli.folder / "script").write_text(script)
        done = cli.shell(f"{shell} {'-n' if shell != 'fish' else '--no-execute'} script")
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_with_the_printed_script(cli: CommandLine) -> None:
    cli.run("trigger", "-f", cli.slow(1))
    (cli.folder / "script").write_text(cli.run("completion", "bash").stdout)
    asks = "COMP_WORDS=(kubesweep suspend s); COMP_CWORD=2; _kubesweep_completion kubesweep; echo ${COMPREPLY[@]}"
    assert cli.shell(f"bash -c '. ./script; {asks}'").stdout == "slow\n"


def test_another_shell_is_refused(cli: CommandLine) -> None:
    assert "write bash, zsh or fish" in cli.run("completion", "tcsh", code=2).stderr
