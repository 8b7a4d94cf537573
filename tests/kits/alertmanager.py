"""Debian's Alertmanager with the configuration that docs/notices.md shows, and a Slack that keeps what it posts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kits.deadlines import scaled
from tests.kits.polling import eventually
from tests.kits.servers import free_port

PAGE = Path(__file__).parents[2] / "docs" / "notices.md"
PROGRAMS = ("amtool", "prometheus-alertmanager")
AVAILABLE = all(map(shutil.which, PROGRAMS))
needs_alertmanager = pytest.mark.skipif(not AVAILABLE, reason="needs Debian's prometheus-alertmanager: docs/testing.md")


def shown_configuration() -> str:
    """The block of the page."""
    (found,) = re.findall(r"```yaml\n(route:\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@dataclass
class Slack:
    """``titles``: the text of what was posted, by its title."""

    url: str = ""
    titles: dict[str, str] = field(default_factory=dict)

    def receive(self, body: bytes) -> None:
        for each in json.loads(body)["attachments"]:
            self.titles[each["title"]] = each["text"]


@contextmanager
def slack() -> Iterator[Slack]:
    made = Slack()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/services/T000"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alertmanager(folder: Path, url: str) -> Iterator[str]:
    """Host and port of an Alertmanager that posts to this URL. The page waits half a minute for alerts of the same group, and reads the
    URL from a mounted Secret."""
    (folder / "url").write_text(url)
    text = shown_configuration()
    for old, new in {
        "group_wait: 30s": "group_wait: 100ms",
        "/etc/alertmanager/slack/url": str(folder / "url"),
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "alertmanager.yaml").write_text(text)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yaml"]
    command += [f"--storage.path={folder}/alertmanager", "--cluster.listen-address=", "--log.level=error"]
    command += [f"--web.listen-address={address}"]
    with (
        (folder / "alertmanager.log").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            eventually("Alertmanager is ready", 60, lambda: _ready(process, address, folder / "alertmanager.log"))
            yield address
        finally:
            process.terminate()


def _ready(process: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=scaled(10)) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
