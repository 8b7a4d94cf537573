"""Where the queue and the log are on this machine, so that all commands use the same queue by default."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from kubesweep.errors import SpecError
from kubesweep.logging import safe_url

__all__ = [
    "QUEUE_VARIABLE",
    "default_queue",
    "file_url",
    "log_file",
    "namespace_option",
    "program",
    "queue_option",
    "queue_url",
    "state_folder",
    "url_option",
]

QUEUE_VARIABLE = "KUBESWEEP_QUEUE"


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME/kubesweep`` or ``~/.local/state/kubesweep``; created if missing, readable only by this user."""
    base = environ.get("XDG_STATE_HOME") or ""
    # The XDG specification says to ignore a path that is not absolute.
    root = Path(base) if os.path.isabs(base) else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    folder = root / "kubesweep"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            "StateFolder",
            f"The state folder {folder} cannot be created: {error.strerror}.\n"
            f"Name a queue with --queue sqlite:////path/to/queue.db, or set XDG_STATE_HOME to a folder that you can write.",
        ) from None
    return folder


def default_queue(environ: Mapping[str, str] = os.environ) -> str:
    return file_url(state_folder(environ) / "queue.db")


def file_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{quote(str(path.absolute()))}"


def queue_url(option: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """``--queue``, else the variable ``KUBESWEEP_QUEUE``, else a file in the state folder."""
    return option or environ.get(QUEUE_VARIABLE) or default_queue(environ)


def queue_option(option: str | None) -> str:
    """``--queue`` for a printed command that must use the same queue; empty if the default or the variable names it."""
    if not option:
        return ""
    # A password in a printed command ends up in scrollback buffers and build logs.
    return f" --queue {shlex.quote(option)}" if safe_url(option) == option else f' --queue "${QUEUE_VARIABLE}"'


def url_option(option: str | None) -> str:
    """``--url`` for a printed command that must use the same database; empty if none was given.

    A URL with a password is not printed; ``URL`` stands for it.
    """
    if not option:
        return ""
    return f" --url {shlex.quote(option)}" if safe_url(option) == option else " --url URL"


def namespace_option(namespace: str | None) -> str:
    """``-n`` for a printed command; empty if no namespace is needed."""
    return f" -n {shlex.quote(namespace)}" if namespace else ""


def log_file(environ: Mapping[str, str] = os.environ) -> Path:
    return state_folder(environ) / "kubesweep.log"


def program() -> str:
    """How to call this program from here, so that printed commands work when they are copied."""
    script = Path(sys.argv[0])
    if script.name != "kubesweep":
        return "kubesweep" if shutil.which("kubesweep") else f"{shlex.quote(sys.executable)} -m kubesweep_cli"
    found = shutil.which("kubesweep")
    if found and os.path.realpath(found) == os.path.realpath(script):
        return "kubesweep"
    try:
        near = str(script.absolute().relative_to(Path.cwd()))
    except ValueError:
        near = str(script.absolute())
    return shlex.quote(near)
