"""Runs a program in a container. The API server's protocol: one byte for the channel in front of each message of a websocket.

The kubernetes package has this too, but sends neither ``--as`` nor ``--as-group``, and its client reads the whole output as text that
it has decoded piece by piece, which damages characters at the borders.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from kubectl_sweep.cluster.errors import Right, refusal
from kubectl_sweep.cluster.transport import Transport
from kubesweep.errors import Outage

__all__ = ["ExecResult", "run_in_pod"]

PROTOCOL = "v4.channel.k8s.io"
STDOUT, STDERR, ERROR = 1, 2, 3  # channels


class ExecResult(NamedTuple):
    """``code`` is the exit code of the program."""

    stdout: str
    stderr: str
    code: int


def run_in_pod(
    transport: Transport, path: str, container: str, argv: Sequence[str], namespace: str, timeout: float | None
) -> ExecResult:
    """``timeout``: the longest silence in seconds. Raises Forbidden, and Outage where the connection fails or breaks."""
    from websocket import ABNF, WebSocketException

    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in argv)]
    outputs: dict[int, bytes] = {}
    socket = _connected(transport, path, query, namespace)
    try:
        socket.settimeout(timeout or None)
        while True:
            opcode, frame = socket.recv_data_frame(True)
            if opcode == ABNF.OPCODE_CLOSE:
                break
            if opcode in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
                outputs[frame.data[0]] = outputs.get(frame.data[0], b"") + frame.data[1:]
    except (WebSocketException, OSError) as error:
        raise Outage("ApiUnreachable", f"The connection to the pod broke: {error}.\nTry again.") from None
    finally:
        socket.close()
    stdout, stderr = (outputs.get(channel, b"").decode(errors="replace") for channel in (STDOUT, STDERR))
    return ExecResult(stdout, stderr, _exit_code(outputs.get(ERROR, b"")))


def _exit_code(answer: bytes) -> int:
    """From the Status object that ends the stream. Raises Outage where the program was not started or did not end."""
    try:
        status: Any = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        raise Outage("ApiUnreachable", "The connection to the pod ended before the program did.\nTry again.") from None
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((each.get("message") for each in causes if each.get("reason") == "ExitCode"), "")
    if not code:
        raise Outage("ApiUnreachable", f"The program could not be started: {status.get('message', '')}.")
    return int(code)


def _connected(transport: Transport, path: str, query: list[tuple[str, str]], namespace: str) -> Any:
    from kubernetes.stream.ws_client import websocket_proxycare
    from websocket import WebSocket, WebSocketBadStatusException, WebSocketException

    configuration = transport.api.configuration
    headers = [f"{name}: {value}" for name, value in transport.headers().iteritems()]
    headers.append(f"sec-websocket-protocol: {PROTOCOL}")
    connection: dict[str, Any] = {"header": headers}
    if configuration.proxy or configuration.proxy_headers:
        connection = websocket_proxycare(connection, configuration, "", None)
    socket: Any = WebSocket(sslopt=_tls(configuration), skip_utf8_validation=True)
    socket.settimeout(transport.options.timeouts[0])
    try:
        socket.connect("ws" + transport.url(path, query).removeprefix("http"), **connection)
    except WebSocketBadStatusException as error:
        body = error.resp_body if isinstance(error.resp_body, bytes) else b""
        raise refusal(error.status_code, _status(body), Right("create", "pods/exec", "", namespace)) from None
    except (WebSocketException, OSError) as error:
        raise transport.unreachable(error) from None
    return socket


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _tls(configuration: Any) -> dict[str, Any]:
    """The options of the TLS connection, as the client of the kubernetes package sets them for other requests."""
    if not configuration.verify_ssl:
        found: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        found = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert}
    named = {
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return found | {name: value for name, value in named.items() if value}
