"""The contestants of bench/queue.py: where the peers are installed, and how their programs run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.peers.probe import Settings

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
PATIENCE = 120.0
PINS = ("requirements.txt", "requirements-saq.txt", "requirements-effects.txt", "package.json")


def folder() -> Path:
    """The folder in which the peers with these pins are installed; other pins have another folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = hashlib.sha256(b"".join((PEERS / name).read_bytes() for name in PINS)).hexdigest()[:12]
    return cache / "kubesweep-bench" / pins


@dataclass(frozen=True, slots=True)
class Contestant:
    """``concurrency`` is the fastest for no-op jobs; ``jobs`` and ``naps`` are the numbers that take some seconds."""

    name: str
    command: tuple[str, ...]
    concurrency: int
    jobs: int
    naps: int
    folder: Path = ROOT

    def start(self, role: str, settings: Settings) -> subprocess.Popen[str]:
        command = (*self.command, role, json.dumps(asdict(settings)))
        environment = {**os.environ, "NODE_PATH": str(folder() / "node_modules"), "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, role: str, settings: Settings) -> dict[str, Any]:
        """Run a program that ends by itself. Returns its last report."""
        process = self.start(role, settings)
        out, error = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{self.name} {role} ended with {process.returncode}: {error[-2000:]}")
        return dict(json.loads(out.splitlines()[-1]))

    @contextmanager
    def worker(self, settings: Settings) -> Iterator[Iterator[dict[str, Any]]]:
        """A worker process. Yields its reports; it is killed at the end, or when it reports nothing for ``PATIENCE`` seconds."""
        process = self.start("work", settings)
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            yield self._reports(process)
        finally:
            watch.cancel()
            process.kill()
            process.communicate()

    def _reports(self, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
        raise RuntimeError(f"the worker of {self.name} ended: {process.stderr.read()[-2000:]}")


def kubesweep(jobs: int = 150_000, naps: int = 25_000) -> Contestant:
    return Contestant("kubesweep", (sys.executable, "-m", "bench.queue_kubesweep"), 500, jobs, naps)


def another(checkout: Path, jobs: int, naps: int) -> Contestant:
    """The Kubesweep of another checkout, which needs a virtual environment (``make .venv/dev.stamp``)."""
    command = str(checkout / ".venv/bin/python"), "-m", "bench.queue_kubesweep"
    return replace(kubesweep(jobs, naps), name=str(checkout), command=command, folder=checkout)


def peers() -> tuple[Contestant, ...]:
    def python(venv: str, program: str) -> tuple[str, ...]:
        return str(folder() / venv / "bin/python"), str(PEERS / program)

    return (
        Contestant("bullmq", ("node", str(PEERS / "bullmq_peer.js")), 100, 60_000, 20_000),
        Contestant("dramatiq", python("python", "dramatiq_peer.py"), 8, 12_000, 10_000),
        Contestant("taskiq", python("python", "taskiq_peer.py"), 100, 10_000, 8_000),
        Contestant("saq", python("saq", "saq_peer.py"), 32, 6_000, 5_000),
    )


def install() -> None:
    """Install the pinned peers: a virtualenv, another for saq, which needs another redis-py, one for bench/effects.py, and BullMQ."""
    for venv, pins in zip(("python", "saq", "effects"), PINS, strict=False):
        subprocess.run((sys.executable, "-m", "venv", str(folder() / venv)), check=True)
        pip = (str(folder() / venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        subprocess.run((*pip, "--require-hashes", "-r", str(PEERS / pins)), check=True)
    (folder() / "package.json").write_bytes((PEERS / "package.json").read_bytes())
    npm = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
    subprocess.run(npm, cwd=folder(), check=True)


def installed() -> bool:
    return (folder() / "node_modules/bullmq").is_dir()
