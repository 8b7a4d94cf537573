"""Queue credentials of a namespace's pods and of KEDA: one Secret per namespace, and queue users with least privileges.

Passwords are derived from the controller's own password and the namespace's uid. So nothing is stored, the Secret is only ever
written, and a recreated namespace has other passwords. The Secret is written again when its content changed, and periodically,
because the controller has no permission to read it. The users are set again too: a server may lose them (a restart without an ACL
file) or never have had them (a failover to a newer replica, because servers do not replicate users).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kubesweep.errors import Outage
from kubesweep.queue.redis.connections import Target
from kubesweep_controller.children.secret import NamespaceCredentials, build_secret
from kubesweep_controller.kube.apply import ApplyBlocked
from kubesweep_controller.kube.client import NAMESPACES, SECRETS, KubeClient, Refused
from kubesweep_controller.queue.users import (
    common_users,
    delete_users,
    disable_users,
    known_users,
    namespace_of,
    set_users,
    user_names,
)
from kubesweep_controller.settings import Settings

REWRITE_SECONDS = 600.0  # until Secret and users are written again in any case
SUSPECT_SECONDS = 60.0  # the same where one may be missing: at a full resync, or because jobs wait and none runs
log = logging.getLogger("kubesweep.controller.credentials")


class QueueCredentials:
    """``install`` is part of every user's name and of the keys that the user may access."""

    def __init__(
        self, settings: Settings, install: str, client: KubeClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._install = install
        self._client = client
        self._clock = clock
        self._written: dict[str, tuple[str, float]] = {}
        self._users: dict[str, tuple[str, float]] = {}
        self._uids: dict[str, str] = {}  # of namespaces
        self._served: dict[tuple[str, str], str] = {}  # uids of schedules
        self._revoked: dict[str, Outage] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def user(self, namespace: str) -> str:
        """The queue user of the namespace's pods; empty: the server's default user."""
        return user_names(self._install, namespace)[0] if self.own_users else self._settings.queue.user

    def invalidate(self) -> None:
        """The server may have lost its users: set them again at the next :meth:`ensure`."""
        self._users.clear()

    async def ensure(self, namespace: str, schedule: Mapping[str, Any] | None = None, *, recheck: bool = False) -> None:
        """Write the namespace's Secret and set its users where that is due.

        ``schedule``: the metadata of the schedule that needs them. An unknown one may be in a recreated namespace. ``recheck``: something
        suggests that the Secret or the users are missing. Raises ``Outage`` or ``ApplyBlocked``.
        """
        async with self._locks[namespace]:
            if schedule is not None and self._served.get((namespace, schedule["name"])) != schedule["uid"]:
                await self._check_namespace(namespace)
                self._served[namespace, schedule["name"]] = schedule["uid"]
            digest, now = self._settings.queue.digest(), self._clock()

            def is_current(known: dict[str, tuple[str, float]]) -> bool:
                written, at = known.get(namespace, ("", 0.0))
                return written == digest and now - at < (SUSPECT_SECONDS if recheck else REWRITE_SECONDS)

            if namespace in self._revoked:
                raise self._revoked[namespace]
            if self.own_users and not is_current(self._users):
                await set_users(self._settings.queue_url, self._install, namespace, self.derive(namespace))
                self._users[namespace] = digest, now
            if not is_current(self._written):
                await self._write(namespace)
                self._written[namespace] = digest, now

    def forget(self, namespace: str, name: str) -> None:
        """The schedule is gone."""
        self._served.pop((namespace, name), None)

    async def find_lost(self, servers: Sequence[Target]) -> list[str]:
        """The namespaces whose users one of the servers lost. They are set again at the next :meth:`ensure`. Raises ``Outage``.

        A server can restart between two calls, without an outage that anybody notices.
        """
        before = list(self._users)
        if not before:
            return []
        names = await common_users(servers)
        lost = [each for each in before if not names.issuperset(user_names(self._install, each))]
        for namespace in lost:
            self._users.pop(namespace, None)
        return lost

    async def delete_unused(self, served: Callable[[], Collection[str]]) -> None:
        """Delete the users of namespaces that have no schedule any more. Raises ``Outage``."""
        if not self.own_users:
            return
        names = await known_users(self._settings.queue_url)
        found = {of for name in names if (of := namespace_of(self._install, name)) is not None}
        for namespace in found:
            async with self._locks[namespace]:
                if namespace in served() or any(key[0] == namespace for key in self._served):
                    continue
                await delete_users(self._settings.queue_url, self._install, namespace)
                for known in (self._users, self._written, self._uids, self._revoked):
                    known.pop(namespace, None)
                log.info("the namespace has no schedule: its queue users are deleted", extra={"namespace": namespace})

    async def revoke(self, namespace: str, why: Outage) -> None:
        """Remove all permissions of the namespace's users until :meth:`restore`. Raises ``Outage``."""
        async with self._locks[namespace]:
            self._revoked[namespace] = why
            self._users.pop(namespace, None)
            await disable_users(self._settings.queue_url, self._install, namespace)

    def restore(self, namespace: str) -> None:
        """The users get their permissions back at the next :meth:`ensure`."""
        self._revoked.pop(namespace, None)

    @property
    def own_users(self) -> bool:
        """Whether each namespace has users of its own."""
        return self._settings.per_namespace_users and self._settings.queue.has_password

    def derive(self, namespace: str) -> NamespaceCredentials:
        """Users and passwords of the namespace."""
        queue = self._settings.queue
        password = queue.password()
        if not self.own_users:
            return NamespaceCredentials(queue.user, password, queue.user, password)
        pods, keda = user_names(self._install, namespace)
        purpose = f"{namespace}/{self._uids.get(namespace, '')}"
        return NamespaceCredentials(
            pods, derived(password, f"worker/{purpose}"), keda, derived(password, f"keda/{purpose}")
        )

    async def _check_namespace(self, namespace: str) -> None:
        """Find out whether the namespace is the one that the Secret and the users were made for."""
        try:
            body = await self._client.get(NAMESPACES, None, namespace)
        except Refused as refused:  # RBAC rules of an older chart
            log.warning("cannot read the namespace: %s", refused, extra={"namespace": namespace})
            body = None
        uid = str(body["metadata"]["uid"]) if body else ""
        if not uid or uid != self._uids.get(namespace):
            self._uids[namespace] = uid
            self._users.pop(namespace, None)
            self._written.pop(namespace, None)

    async def _write(self, namespace: str) -> None:
        queue = self._settings.queue
        secret = build_secret(namespace, self.derive(namespace), queue.ca(), queue.sentinel_password())
        try:
            await self._client.apply(SECRETS, secret)
        except Refused as refused:
            raise ApplyBlocked(f"Secret {secret['metadata']['name']} in namespace {namespace}: {refused}") from refused


def derived(password: str, purpose: str) -> str:
    """A password that follows from the controller's own and does not reveal it."""
    return hmac.new(password.encode(), purpose.encode(), hashlib.sha256).hexdigest()
