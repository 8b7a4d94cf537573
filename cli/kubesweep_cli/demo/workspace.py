"""The demo's world: one folder with a database, a handler, the sweeps and the queue. It is kept, so that the commands that
the demo prints at its end work.
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

__all__ = ["POISON", "Audit", "World", "audit", "make_world"]

POISON = {"process-idle-conversations": 4, "process-expired-conversations": 3}  # rows whose notification is refused
STATUS = {
    "process-idle-conversations": "idle",
    "process-expired-conversations": "expired",
}  # what the write makes of them


@dataclass(frozen=True, slots=True)
class World:
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


def make_world(rows: int, folder: Path | None, now: float | None = None) -> World:
    """Write everything. ``folder`` must be new or empty; without one a temporary folder is made (and stays)."""
    world = World(_folder(folder))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_text("schema.sql"))
        db.execute("BEGIN")
        db.execute(_text("rows.sql"), {"rows": rows, "now": moment})
        db.execute("COMMIT")
        world.refused.write_text("".join(f"{number}\n" for number in _poison(db, moment)))
    (world.folder / "conversations.py").write_text(_text("conversations.py"))
    world.sweeps.write_text(_text("sweep.yaml").replace("@URL@", file_url(world.database)))
    world.outbox.touch()
    return world


def _folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="kubesweep-demo-")).resolve()
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise SpecError("DemoFolder", f"--keep {folder}: {error.strerror}.\nName a folder that can be made.") from None
    if used:
        raise SpecError("DemoFolder", f"--keep {folder}: the folder is not empty.\nName a new one, or remove it first.")
    return folder


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _poison(db: sqlite3.Connection, now: str) -> list[str]:
    """The numbers that the carrier will refuse, spread over the table."""
    conditions = {
        "process-idle-conversations": "updated_at < datetime(?, '-30 minutes')",
        "process-expired-conversations": "expires_at < ?",
    }
    numbers: list[str] = []
    for name, condition in conditions.items():
        where = f"status IN ('pending', 'progress') AND {condition}"
        ids = [row[0] for row in db.execute(f"SELECT id FROM conversations WHERE {where} ORDER BY id", (now,))]
        step = max(1, len(ids) // (POISON[name] + 1))
        chosen = ids[step::step][: POISON[name]]
        for key in chosen:
            numbers += [row[0] for row in db.execute("SELECT from_number FROM conversations WHERE id = ?", (key,))]
    return numbers


@dataclass(frozen=True, slots=True)
class Audit:
    """What the database and the outbox say, whatever the queue counted."""

    changed: dict[str, int]  # schedule -> rows that carry its new status
    stale: int  # rows that still match one of the sweeps
    notified: int  # distinct idempotency keys in the outbox
    repeated: int  # notifications beyond the first under one key


def audit(world: World) -> Audit:
    """Count anew, from the files alone. Raises SpecError where somebody removed them."""
    if not (world.database.exists() and world.outbox.exists()):
        raise SpecError(
            "DemoFolder", f"The demo's folder {world.folder} was removed while it ran.\nStart it again, and let it be."
        )
    with closing(sqlite3.connect(world.database)) as db:
        by_status = dict(db.execute("SELECT status, count(*) FROM conversations GROUP BY status"))
        (stale,) = db.execute(
            "SELECT count(*) FROM conversations WHERE status IN ('pending', 'progress')"
            " AND (expires_at < datetime('now') OR updated_at < datetime('now', '-30 minutes'))"
        ).fetchone()
    with world.outbox.open(encoding="utf-8") as lines:
        keys = Counter(line.split(" ", 1)[0] for line in lines)
    changed = {name: int(by_status.get(status, 0)) for name, status in STATUS.items()}
    return Audit(changed, int(stale), len(keys), sum(keys.values()) - len(keys))
