"""How to reach the API server: the pod's service account, or a kubeconfig outside a pod.

The watch and the client both use it. The token stays a file, because the cluster rotates its content about once an hour.
"""

from __future__ import annotations

import atexit
import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kubesweep.errors import Outage, SpecError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Kubeconfig:
    """File paths where there are files; PEM text where a kubeconfig embeds it."""

    server: str
    ca: str | None = None  # PEM
    token_file: str | None = None
    given_token: str | None = field(default=None, repr=False)
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True

    def token(self) -> str | None:
        """The bearer token as it is now."""
        if not self.token_file:
            return self.given_token
        try:
            return Path(self.token_file).read_text("utf-8").strip()
        except OSError as error:
            raise Outage("ApiUnauthorized", f"{self.token_file} cannot be read: {error.strerror}") from error

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


def find(env: Mapping[str, str] = os.environ) -> Kubeconfig:
    """The pod's service account, else the kubeconfig (``KUBECONFIG`` or the default path). Raises ``SpecError``."""
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    try:
        if host and port:
            server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
            return Kubeconfig(server, (SERVICE_ACCOUNT / "ca.crt").read_text(), str(SERVICE_ACCOUNT / "token"))
        path = Path(env.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        return from_kubeconfig(yaml.safe_load(path.read_text("utf-8")), path.parent)
    except (OSError, KeyError, TypeError, ValueError, StopIteration, yaml.YAMLError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SpecError("BadEnvironment", f"this is no pod, and there is no usable kubeconfig ({what})") from error


def from_kubeconfig(config: Mapping[str, Any], folder: Path) -> Kubeconfig:
    """From the current context: token, token file or client certificate; no exec plugins and no browser login."""
    context = _named(config, "contexts", config["current-context"])["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    ca = cluster.get("certificate-authority-data")
    pem = base64.b64decode(ca).decode() if ca else None
    if "certificate-authority" in cluster:
        pem = (folder / cluster["certificate-authority"]).read_text("utf-8")
    return Kubeconfig(
        server=cluster["server"].rstrip("/"),
        ca=pem,
        token_file=_file(user, "tokenFile", folder),
        given_token=user.get("token"),
        cert_file=_file(user, "client-certificate", folder),
        key_file=_file(user, "client-key", folder),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _file(user: Mapping[str, Any], name: str, folder: Path) -> str | None:
    """The path of a file that is named or embedded in the kubeconfig. TLS needs a file."""
    if name in user:
        return str(folder / user[name])
    if f"{name}-data" not in user:
        return None
    handle, path = tempfile.mkstemp(prefix="kubesweep-")
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64decode(user[f"{name}-data"]))
    atexit.register(Path(path).unlink, missing_ok=True)
    return path


def _named(config: Mapping[str, Any], section: str, name: str) -> Any:
    return next(each for each in config[section] if each["name"] == name)
