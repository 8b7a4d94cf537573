"""The demo's workspace: one folder with a database, a handler, the schedules and the queue.

It is kept, so that the commands that the demo prints at its end work.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kubesweep.errors import SpecError
from kubesweep_cli.shell.state_paths import file_url

__all__ = ["REFUSED", "Workspace", "WorkspaceCounts", "count_workspace", "make_workspace"]

REFUSED = {"process-idle-conversations": 4, "process-expired-conversations": 3}  # rows whose notification is refused
STATUS = {
    "process-idle-conversations": "idle",
    "process-expired-conversations": "expired",
}  # after the write


@dataclass(frozen=True, slots=True)
class Workspace:
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "support.db"

    @property
    def sweeps(self) -> Path:
        return self.folder / "sweep.yaml"

    @property
    def refused(self) -> Path:
        return self.folder / "refused-numbers.txt"

    @property
    def outbox(self) -> Path:
        return self.folder / "notifications.log"

    @property
    def queue(self) -> str:
        return file_url(self.folder / "queue.db")


def make_workspace(rows: int, folder: Path | None, now: float | None = None) -> Workspace:
    """Write all files. ``folder`` must be new or empty; without it they go to a new temporary folder, which stays."""
    workspace = Workspace(_folder(folder))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    with closing(sqlite3.connect(workspace.database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_text("schema.sql"))
        db.execute("BEGIN")
        db.execute(_text("rows.sql"), {"rows": rows, "now": moment})
        db.execute("COMMIT")
        workspace.refused.write_text("".join(f"{number}\n" for number in _refused_numbers(db, moment)))
    (workspace.folder / "conversations.py").write_text(_text("conversations.py"))
    workspace.sweeps.write_text(_text("sweep.yaml").replace("@URL@", file_url(workspace.database)))
    workspace.outbox.touch()
    return workspace


def _folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="kubesweep-demo-")).resolve()
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise SpecError(
            "DemoFolder", f"--keep {folder}: {error.strerror}.\nName a folder that you can create."
        ) from None
    if used:
        raise SpecError("DemoFolder", f"--keep {folder}: the folder is not empty.\nName a new one, or remove it first.")
    return folder


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _refused_numbers(db: sqlite3.Connection, now: str) -> list[str]:
    """The numbers that the carrier refuses, spread over the table."""
    conditions = {
        "process-idle-conversations": "updated_at < datetime(?, '-30 minutes')",
        "process-expired-conversations": "expires_at < ?",
    }
    numbers: list[str] = []
    for name, condition in conditions.items():
        where = f"status IN ('pending', 'progress') AND {condition}"
        ids = [row[0] for row in db.execute(f"SELECT id FROM conversations WHERE {where} ORDER BY id", (now,))]
        step = max(1, len(ids) // (REFUSED[name] + 1))
        chosen = ids[step::step][: REFUSED[name]]
        for key in chosen:
            numbers += [row[0] for row in db.execute("SELECT from_number FROM conversations WHERE id = ?", (key,))]
    return numbers


@dataclass(frozen=True, slots=True)
class WorkspaceCounts:
    """What the database and the outbox have, independent of the queue."""

    changed: dict[str, int]  # schedule -> rows with its new status
    stale: int  # rows that still match one of the sweeps
    notified: int  # distinct idempotency keys in the outbox
    repeated: int  # notifications beyond the first under one key


def count_workspace(workspace: Workspace) -> WorkspaceCounts:
    """Count in the files alone. Raises SpecError if they were removed."""
    if not (workspace.database.exists() and workspace.outbox.exists()):
        raise SpecError(
            "DemoFolder", f"The demo's folder {workspace.folder} was removed while it ran.\nStart the demo again."
        )
    with closing(sqlite3.connect(workspace.database)) as db:
        by_status = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
        (stale,) = db.execute(
            "SELECT count(*) FROM conversations WHERE status IN ('pending', 'progress')"
            " AND (expires_at < datetime('now') OR updated_at < datetime('now', '-30 minutes'))"
        ).fetchone()
    with workspace.outbox.open(encoding="utf-8") as lines:
        keys = Counter(line.split(" ", 1)[0] for line in lines)
    changed = {name: int(by_status.get(status, 0)) for name, status in STATUS.items()}
    return WorkspaceCounts(changed, int(stale), len(keys), sum(keys.values()) - len(keys))
