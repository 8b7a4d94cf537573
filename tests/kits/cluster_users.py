"""People who use ``kubectl sweep``: a service account with one of the chart's Roles, its kubeconfig, and the program as they run it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.kits.deadlines import scaled
from tests.kits.kube_client import Namespace

PROGRAM = Path(sys.executable).parent / "kubectl-sweep"
WIDTH = "100"


class Ran(NamedTuple):
    """On a terminal, ``out`` has both streams and ``err`` is empty."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class User:
    """Somebody with a kubeconfig of their own."""

    kubeconfig: Path

    @property
    def environment(self) -> dict[str, str]:
        """Without the variables of the test run that change what is printed."""
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
        return kept | {"KUBECONFIG": str(self.kubeconfig), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}

    def sweep(self, *words: str) -> Ran:
        """Run ``kubectl-sweep`` in a pipe, without a terminal to ask on."""
        ran = subprocess.run(
            [PROGRAM, *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=scaled(180),
        )  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def sweep_on_terminal(self, *words: str, typed: str = "") -> Ran:
        """Run it on a terminal on which somebody has typed ``typed``."""
        with self.started_on_terminal(*words) as (process, terminal):
            if typed:
                terminal.write(typed)
            code = process.wait(timeout=scaled(180))
        return Ran(code, terminal.text, "")

    @contextmanager
    def started_on_terminal(self, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Screen]]:
        leader, follower = pty.openpty()
        environment = self.environment | {"TERM": "xterm-256color", "COLUMNS": WIDTH, "LINES": "40"}
        process = subprocess.Popen(
            [PROGRAM, *words], env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
        )
        os.close(follower)
        screen = Screen(leader)
        try:
            yield process, screen
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
            screen.close()


class Screen:
    """What a program printed on a terminal so far."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._parts: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._leader, 65536)
            except OSError:  # the program has closed its side
                return
            if not part:
                return
            with self._news:
                self._parts.append(part.decode(errors="replace"))
                self._news.notify_all()

    @property
    def text(self) -> str:
        with self._news:
            return "".join(self._parts)

    def write(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def until(self, words: str, patience: float = 60) -> None:
        """Wait until the program has printed ``words``."""
        with self._news:
            shown = self._news.wait_for(lambda: words in "".join(self._parts), scaled(patience))
        assert shown, f"not printed: {words}\n{self.text}"

    def close(self) -> None:
        self._reader.join(scaled(10))
        os.close(self._leader)


def create_user(namespace: Namespace, role: str, folder: Path) -> User:
    """A service account with the release's Role ``viewer`` or ``operator`` in its namespace."""
    (found,) = [
        each["metadata"]["name"]
        for each in namespace.all("rbac.authorization.k8s.io/v1 Role")
        if each["metadata"]["name"].endswith(f":{role}")
    ]
    namespace.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}})
    namespace.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"user-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": found},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": namespace.name}],
        }
    )
    token = namespace.kubectl("create", "token", role, "--duration=2h").strip()
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    name = document["current-context"]
    (context,) = [each["context"] for each in document["contexts"] if each["name"] == name]
    context |= {"namespace": namespace.name, "user": role}
    document["users"] = [{"name": role, "user": {"token": token}}]
    file = folder / f"kubeconfig-{role}"
    file.write_text(yaml.safe_dump(document))
    return User(file)
