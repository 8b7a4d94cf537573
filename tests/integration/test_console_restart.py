"""A page of the console that is left open while its server starts again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from tests.integration.command_line import CommandLine
from tests.integration.served_console import served
from tests.kits.browser import chromium, needs_chromium

pytestmark = needs_chromium
REFUSAL = "Open the link that the command printed: it has the key."


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(REFUSAL.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def refusing(port: int) -> Iterator[None]:
    """A server that answers as a private console that was started again, with another key."""
    with ThreadingHTTPServer(("127.0.0.1", port), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def test_a_page_whose_key_is_not_valid_any_more_says_what_to_open(tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser:
        with served(CommandLine(tmp_path)) as dashboard:
            browser.open(dashboard.link)
            rows = browser.find("tbody").text
        with refusing(urlsplit(dashboard.origin).port or 0):
            browser.until(lambda: REFUSAL in browser.find("#stale").text, "the page says why it is stale")
            assert browser.find("tbody").text == rows
