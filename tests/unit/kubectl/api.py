"""A server on loopback that answers as an API server does, for answers that a healthy one does not give on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

Object = dict[str, Any]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, list[str]]  # by their names in small letters
    body: Any


@dataclass
class Api:
    """``answer`` gets each request. It returns a status and an object, or a list of objects, which are sent as the lines of a watch."""

    answer: Callable[[Request], tuple[int, Object | list[Object]]]
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    silent: Event = field(default_factory=Event)  # while it is set, a request is answered only after ``closing``
    closing: Event = field(default_factory=Event)


def status(code: int, reason: str, message: str, **details: Any) -> tuple[int, Object]:
    """An answer that refuses a request."""
    return code, {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def page(*objects: Object, version: str = "10", more: str = "") -> tuple[int, Object]:
    """An answer to a list."""
    return 200, {"kind": "List", "metadata": {"resourceVersion": version, "continue": more}, "items": list(objects)}


@contextmanager
def serve(answer: Callable[[Request], tuple[int, Object | list[Object]]]) -> Iterator[Api]:
    api = Api(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return None

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): self.headers.get_all(name) or [] for name in self.headers}
            request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            api.requests.append(request)
            if api.silent.is_set():
                api.closing.wait()
                return
            code, found = api.answer(request)
            lines = [json.dumps(each) for each in found] if isinstance(found, list) else [json.dumps(found)]
            data = "".join(f"{line}\n" for line in lines).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        api.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def write_kubeconfig(folder: Path, url: str, user: Object | None = None, namespace: str = "shop") -> str:
    """A kubeconfig with one context, ``here``."""
    file = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}],
    }
    file.write_text(yaml.safe_dump(document))
    return str(file)
