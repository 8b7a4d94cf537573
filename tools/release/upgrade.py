"""A step of the check: upgrade from the last release, on the test bed."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.cluster.lifecycle import running
from tests.cluster.testbed import Bed
from tools.release.version import ROOT, version


def last_release() -> str | None:
    """The tag of the last release before this version; None before the second one."""
    describe = ["git", "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", f"--exclude=v{version()}"]
    ran = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or None


def upgrade(scratch: Path) -> str:
    """Upgrade and return what happened, or why nothing was done. Raises CalledProcessError if the upgrade fails."""
    tag = last_release()
    if tag is None:
        return f"no release is older than {version()}, so there is nothing to upgrade from"
    bed = Bed.selected()
    if not running(bed):
        return (
            f"SKIPPED: the upgrade from {tag} needs the test bed, and {bed.name} does not run (make cluster, as root)"
        )
    archive = subprocess.run(["git", "archive", tag], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tree:
        tree.extractall(scratch, filter="data")
    command = [sys.executable, "-m", "tests.upgrade", str(scratch)]
    ran = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    return f"from {tag}: {ran.stdout.splitlines()[-1]}"
