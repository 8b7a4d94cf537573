"""An example of a webhook receiver: it does the work once for each Idempotency-Key.

Kubesweep delivers at least once. After a crash or a lost response it sends the same request again, with the same key. A
receiver that stores the keys does the work exactly once. This one stores them in memory. Store yours in the same
transaction as the work.

    python receiver.py [--port 8088] [--lose-every 100]

With ``--lose-every N`` it does the work of every Nth new request and then closes the connection without a response, so
that you can see the same key again. ``GET /`` returns the counts as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Ledger:
    """The keys that were received, and how often."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def first(self, key: str) -> bool:
        """True if the key is new, so the work must be done; False if it was received before."""
        with self._lock:
            self._seen[key] += 1
            return self._seen[key] == 1

    def summary(self) -> dict[str, int]:
        with self._lock:
            requests, keys = self._seen.total(), len(self._seen)
        return {"requests": requests, "keys": keys, "duplicates": requests - keys}


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], *, lose_every: int = 0, quiet: bool = False) -> None:
        super().__init__(address, RequestHandler)
        self.ledger = Ledger()
        self.lose_every = lose_every
        self.quiet = quiet

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore senders that close the connection, which is normal; print a traceback for any other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self.headers.get("Idempotency-Key")
        if key is None:
            self._respond(400, {"error": "no Idempotency-Key header"})
            return
        new = self.server.ledger.first(key)
        self._print(f"{'new      ' if new else 'DUPLICATE'} {key} {body.decode(errors='replace')}")
        if new and self._lost():
            self.close_connection = True
            return
        self._respond(200, {"new": new})

    def do_GET(self) -> None:
        self._respond(200, self.server.ledger.summary())

    def _lost(self) -> bool:
        every = self.server.lose_every
        return every > 0 and self.server.ledger.summary()["keys"] % every == 0

    def _respond(self, status: int, content: Mapping[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _print(self, line: str) -> None:
        if not self.server.quiet:
            print(line, flush=True)

    def log_message(self, format: str, *args: object) -> None:
        """Disabled: ``_print`` writes one line for each request, with its key."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive webhooks and process each Idempotency-Key once.")
    parser.add_argument("--port", type=int, default=8088)
    parser.add_argument(
        "--lose-every", type=int, default=0, metavar="N", help="send no response to every Nth new request"
    )
    options = parser.parse_args()
    with Receiver(("127.0.0.1", options.port), lose_every=options.lose_every) as receiver:
        print(f"listening on http://127.0.0.1:{receiver.server_port}; press Ctrl-C to stop", flush=True)
        try:
            receiver.serve_forever()
        except KeyboardInterrupt:
            print(json.dumps(receiver.ledger.summary()), flush=True)


if __name__ == "__main__":
    main()
