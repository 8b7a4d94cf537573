"""The command line beside a schedule whose rows in the queue another program changed: it is reported, and the others are shown."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.integration.command_line import CommandLine


def test_a_damaged_schedule_does_not_hide_the_others(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    file = Path(cli.slow(1))
    other = cli.folder / "other.yaml"
    other.write_text(file.read_text().replace("{name: slow}", "{name: sound}"))
    for each in (file, other):
        cli.run("trigger", "-f", str(each))
    with sqlite3.connect(cli.folder / "state" / "kubesweep" / "queue.db") as connection:
        changed = connection.execute(
            "UPDATE sweep SET state = 'Odd' WHERE schedule = (SELECT id FROM schedule WHERE name = 'slow')"
        )
        assert changed.rowcount == 1
    connection.close()
    status = cli.run("status")
    assert "damaged" in status.stdout
    assert "Planning" in status.stdout
    assert "slow: queue" in status.stderr
    assert "another program changed them" in " ".join(status.stderr.split())
    slow, sound = json.loads(cli.run("status", "-o", "json").stdout)
    assert "`kubesweep run` deletes these rows" in slow["damage"]
    assert "damage" not in sound
    history = cli.run("history")
    assert "sound" in history.stdout
    assert "another program changed them" in " ".join(history.stderr.split())
