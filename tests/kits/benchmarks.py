"""A run of a benchmark with ``--smoke``, whose figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kits.deadlines import scaled

ROOT = Path(__file__).parents[2]


def smoke_run(name: str, folder: Path, seconds: float = 240) -> tuple[dict[str, Any], str]:
    """All figures of ``python -m bench.<name>``, and what it printed, within ``seconds``."""
    file = folder / "figures.json"
    done = subprocess.run(
        (sys.executable, "-m", f"bench.{name}", "--smoke", "--json", str(file)),
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(seconds),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(file.read_text())
    return figures, done.stdout
