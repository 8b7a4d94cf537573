"""The password of the bundled queue, generated once in the cluster.

The chart renders the Secret without data. So every rendering is the same, and no Helm release, GitOps tool or rollback owns the
password. The leader fills it by a server-side apply without force: if another value exists, the API server answers with a conflict
and nothing changes. No Secret is read (docs/adr/0112).

The kubelet updates a mounted Secret up to 90 seconds later. Until then this process reads the password that it generated from a
file in memory. That file becomes a link to the mounted one as soon as the mounted one has content.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kubesweep_controller.kube.client import SECRETS, ApiOutage, KubeClient, Refused
from kubesweep_controller.queue_address import QueueAddress
from kubesweep_controller.settings import Settings

MANAGER = "kubesweep-password"
CHECK_SECONDS = 5.0  # between two reads of the mounted file
RETRY_SECONDS = 60.0  # until the Secret is written again while the mounted file is empty
log = logging.getLogger("kubesweep.controller.queue")


@dataclass
class QueuePassword:
    """``mounted`` is the Secret's file. Use ``settings`` from here on: their queue URL may name the temporary file."""

    settings: Settings
    client: KubeClient
    mounted: Path
    temporary_file: Path | None = None
    _known: str = field(default="", repr=False)
    _next: float = 0.0
    _logged: str = ""

    @classmethod
    def of(cls, settings: Settings, client: KubeClient) -> QueuePassword:
        mounted = settings.queue.password_file
        if not settings.queue_secret or not mounted or _read(Path(mounted)):
            return cls(settings, client, Path(mounted))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        temporary_file = Path(tempfile.mkdtemp(prefix="kubesweep-", dir=memory)) / "password"
        url = settings.queue_url.replace(f"password_file={mounted}", f"password_file={temporary_file}")
        return cls(replace(settings, queue_url=url, queue=QueueAddress.of(url)), client, Path(mounted), temporary_file)

    async def run(self) -> None:
        """Keep a password in the Secret, until cancelled. A tool that replaces objects may empty it."""
        while self.settings.queue_secret:
            await self.check(asyncio.get_running_loop().time())
            await asyncio.sleep(CHECK_SECONDS)
        await asyncio.Event().wait()

    async def check(self, now: float) -> None:
        """Check once. ``now`` in seconds, of any monotonic clock."""
        if password := _read(self.mounted):
            self._known = password
            if self.temporary_file is not None and not self.temporary_file.is_symlink():
                self._swap(lambda new: new.symlink_to(self.mounted))
        elif now >= self._next:
            self._next = now + RETRY_SECONDS
            await self._fill()

    def close(self) -> None:
        if self.temporary_file is not None:
            shutil.rmtree(self.temporary_file.parent, ignore_errors=True)

    async def _fill(self) -> None:
        # A field manager may change what it applied itself, so a new value needs a manager that owns nothing yet.
        password, manager = self._known, MANAGER
        if not password:
            password, manager = secrets.token_urlsafe(36), f"{MANAGER}-{secrets.token_hex(4)}"
        place = {"name": self.settings.queue_secret, "namespace": self.settings.namespace}
        data = {"password": base64.b64encode(password.encode()).decode()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": place, "data": data}
        try:
            await self.client.apply(SECRETS, body, manager, force=False)
        except ApiOutage as outage:
            self._next = 0.0
            self._log_problem(str(outage))
        except Refused as refused:
            if refused.reason != "Conflict":
                self._log_problem(str(refused))
        else:
            self._known = password
            if self.temporary_file is not None:
                self._swap(lambda new: _write(new, password))
            log.info("the queue's password was written to its Secret", extra={"secret": self.settings.queue_secret})

    def _swap(self, make: Callable[[Path], None]) -> None:
        """Replace the temporary file atomically."""
        assert self.temporary_file is not None
        new = self.temporary_file.with_name("new")
        make(new)
        new.rename(self.temporary_file)

    def _log_problem(self, problem: str) -> None:
        if problem != self._logged:
            log.warning("cannot write a password to Secret %s: %s", self.settings.queue_secret, problem)
        self._logged = problem


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
