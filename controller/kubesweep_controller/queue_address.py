"""The queue's address in three forms: for the controller with its credentials, for pods without a password, and for KEDA.

Pods get a URL whose password is a mounted file. KEDA gets addresses, and its credentials from a TriggerAuthentication. Pure, except
for the passwords, which are read from the files that the controller's own URL names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from kubesweep.errors import Outage, SpecError
from kubesweep.queue.redis.connections import TIMEOUT, PasswordFile, Target, parse

FOLDER = "/run/kubesweep/queue"  # where the Secret is mounted in pods
_CODE = "QueueUrl"


@dataclass(frozen=True)
class QueueAddress:
    """Create it with :meth:`of`. ``ca_file`` and the password files are read again whenever a Secret is written."""

    target: Target = field(repr=False)  # may contain the password
    user: str  # of the controller; empty: the server's default user
    given_password: str = field(repr=False)
    password_file: str
    sentinel_user: str
    given_sentinel_password: str = field(repr=False)
    sentinel_password_file: str
    ca_file: str

    @classmethod
    def of(cls, url: str) -> QueueAddress:
        """Raises ``SpecError`` for a queue that pods on other hosts cannot reach, or whose credentials they cannot use."""
        if not url.partition("://")[0].lower().startswith(("redis", "valkey")):
            raise SpecError(
                _CODE, "KUBESWEEP_QUEUE: in a cluster the queue is a redis:// or rediss:// URL (docs/redis.md)"
            )
        target = parse(url)
        if "ssl_certfile" in target.options or "ssl_keyfile" in target.options:
            raise SpecError(
                _CODE, "KUBESWEEP_QUEUE: client certificates are not passed on to pods: use a user and a password"
            )
        query = parse_qs(urlsplit(url).query)
        provider = target.options.get("credential_provider")
        user = _user(url) or query.get("username", [""])[0]
        return cls(
            target=target,
            user=user,
            given_password="" if isinstance(provider, PasswordFile) else str(target.options.get("password") or ""),
            password_file=query.get("password_file", [""])[0],
            sentinel_user=query.get("sentinel_username", [""])[0],
            given_sentinel_password=query.get("sentinel_password", [""])[0],
            sentinel_password_file=query.get("sentinel_password_file", [""])[0],
            ca_file=str(target.options.get("ssl_ca_certs") or ""),
        )

    @property
    def has_password(self) -> bool:
        return bool(self.password_file or self.given_password)

    def password(self) -> str:
        """The controller's own password as it is now. Raises ``Outage`` if the file cannot be read."""
        return _read(self.password_file) if self.password_file else self.given_password

    @property
    def has_sentinel_password(self) -> bool:
        return bool(self.sentinel_password_file or self.given_sentinel_password)

    def sentinel_password(self) -> str:
        file = self.sentinel_password_file
        return _read(file) if file else self.given_sentinel_password

    def ca(self) -> str:
        """The certificates that the server's own is verified against; empty: those of the image."""
        return _read(self.ca_file) if self.ca_file else ""

    def pod_url(self, user: str) -> str:
        """The URL for pods: with ``user``, and with the path of the password's file instead of the password."""
        target = self.target
        options: dict[str, Any] = {}
        if self.has_password:
            options["password_file"] = f"{FOLDER}/password"
        if self.ca_file:
            options["ssl_ca_certs"] = f"{FOLDER}/ca.crt"
        for name in ("ssl_cert_reqs", "ssl_check_hostname"):
            if name in target.options:
                options[name] = str(target.options[name]).lower()
        for name in ("socket_timeout", "socket_connect_timeout"):
            if target.options[name] != TIMEOUT:
                options[name] = f"{target.options[name]:g}"
        if self.sentinel_user:
            options["sentinel_username"] = self.sentinel_user
        if self.has_sentinel_password:
            options["sentinel_password_file"] = f"{FOLDER}/sentinelPassword"
        return self._url(user, options)

    def _url(self, user: str, options: dict[str, Any]) -> str:
        target = self.target
        variant = "" if target.kind == "server" else f"+{target.kind}"
        hosts = ",".join(_host_port(*each) for each in target.hosts)
        path = {"server": str(target.options["db"]), "sentinel": quote(target.path), "cluster": ""}[target.kind]
        if target.kind == "sentinel" and target.options["db"]:
            options = {**options, "db": target.options["db"]}
        userinfo = f"{quote(user, safe='')}@" if user and self.has_password else ""
        query = urlencode(options, safe="/")
        return f"redis{'s' if target.tls else ''}{variant}://{userinfo}{hosts}/{path}{'?' if query else ''}{query}"

    @property
    def scaler(self) -> str:
        """KEDA's name for a trigger on streams of this kind of server."""
        variant = "" if self.target.kind == "server" else f"-{self.target.kind}"
        return f"redis{variant}-streams"

    def scaler_metadata(self) -> dict[str, str]:
        """The server's fields in each of KEDA's triggers."""
        target = self.target
        one = target.kind == "server"
        found = {"address" if one else "addresses": ",".join(_host_port(*each) for each in target.hosts)}
        if target.options["db"]:
            found["databaseIndex"] = str(target.options["db"])
        if target.kind == "sentinel":
            found["sentinelMaster"] = target.path
            if self.sentinel_user:
                found["sentinelUsername"] = self.sentinel_user
        if target.tls:
            found["enableTLS"] = "true"
            if str(target.options.get("ssl_cert_reqs", "")).lower() in ("none", "cert_none", "0"):
                found["unsafeSsl"] = "true"
        return found

    def digest(self) -> str:
        """Changes when the password or the certificates change. Then every Secret is written again."""
        return hashlib.sha256("\0".join((self.password(), self.ca(), self.sentinel_password())).encode()).hexdigest()[
            :16
        ]


def _user(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.username or "")


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise Outage(
            "QueueAuth", f"{path} cannot be read: {error.strerror}. Check that the Secret is mounted"
        ) from error
