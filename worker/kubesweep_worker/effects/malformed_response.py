"""Read the status of an answer whose headers or body cannot be parsed.

aiohttp drops the status together with an answer that it cannot parse. But a receiver that answered 200 has done its work,
and a malformed header is no reason to repeat the effect. So each connection records how an answer begins.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["Connector", "status_of"]

HEAD = 4096  # bytes; the 1xx answers before the final one are short
_STATUS = re.compile(rb"^HTTP/\d(?:\.\d)? (\d{3})\b", re.MULTILINE)


class _Protocol(ResponseHandler):
    _head = b""

    def set_response_params(self, **given: Any) -> None:
        self._head = b""
        super().set_response_params(**given)

    def data_received(self, data: bytes) -> None:
        self._head += data[: HEAD - len(self._head)]
        super().data_received(data)
        error = self.exception()
        if isinstance(error, HttpProcessingError):
            error.head = self._head  # type: ignore[attr-defined]


def _connection(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Protocol(loop)


class Connector(aiohttp.TCPConnector):
    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        self._factory = functools.partial(_connection, loop=asyncio.get_running_loop())


def status_of(error: aiohttp.ClientResponseError) -> int | None:
    """The status at the beginning of the answer, None where the answer is not HTTP."""
    found = (int(status) for status in _STATUS.findall(getattr(error.__cause__, "head", b"")))
    return next((status for status in found if status >= 200), None)
