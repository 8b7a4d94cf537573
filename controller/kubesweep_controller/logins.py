"""How the pods of a namespace and KEDA log in to the queue: one Secret a namespace, and with it users of least rights.

Passwords are derived from the controller's own, so nothing has to be stored, and the Secret is only ever written. It is
written again where its content changed, and now and then because nobody can look whether it is still there. So are the
users: a server may lose them (a restart without an ACL file) or never have had them (a failover to a replica made since,
because servers do not tell each other of users).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable

from redis.exceptions import RedisClusterException, RedisError

from kubesweep.queue.redis_connect import Target, close_client, open_client, parse, servers
from kubesweep.queue.redis_errors import outage
from kubesweep_controller.api import SECRETS, Api, Refused
from kubesweep_controller.apply import Hindered
from kubesweep_controller.children.secret import Login, build_secret
from kubesweep_controller.settings import Settings

AGAIN = 3600.0  # seconds after which Secret and users are written again, whatever is known of them
SOON = 60.0  # the same where work waits and nobody does it: one of them may be gone
# docs/redis-acl.md, worker and producer together: both run in the namespace. A test compares them with the page.
POD_RULES = (
    "resetchannels -@all +eval +evalsha +exists +hdel +hget +hgetall +hincrby +hkeys +hlen +hmget +hrandfield "
    "+hscan +hset +hvals +pexpire +sadd +srem +time +unlink +xack +xadd +xclaim +xdel +xgroup|create "
    "+xgroup|delconsumer +xinfo|consumers +xlen +xpending +xrange +xread +xrevrange +zadd +zcard +zcount +zrange "
    "+zrangebyscore +zrem +zscore"
)
KEDA_RULES = "resetchannels -@all +ping +xlen +eval +type +zcard +llen"
CLUSTER_RULES = "+cluster|slots +cluster|shards +command +readonly +asking +ping"
_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)


class Logins:
    """``install`` is part of every user's name and of the keys that they may touch."""

    def __init__(self, settings: Settings, install: str, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._install = install
        self._api = api
        self._clock = clock
        self._written: dict[str, tuple[str, float]] = {}
        self._users: dict[str, tuple[str, float]] = {}
        self._turn = asyncio.Lock()

    def user(self, namespace: str) -> str:
        """Whom the pods of the namespace log in as; empty: the server's default user."""
        return self._name(namespace) if self._own_users else self._settings.queue.user

    def doubt(self) -> None:
        """The server may have lost its users: set them again at the next occasion."""
        self._users.clear()

    async def ensure(self, namespace: str, *, doubtful: bool = False) -> None:
        """The namespace's Secret, and its users, as they should be. ``doubtful``: there is a sign that the Secret is not
        there. Raises Outage or Hindered."""
        async with self._turn:
            digest, now = self._settings.queue.digest(), self._clock()

            def stands(known: dict[str, tuple[str, float]]) -> bool:
                written, at = known.get(namespace, ("", 0.0))
                return written == digest and now - at < (SOON if doubtful else AGAIN)

            if self._own_users and not stands(self._users):
                await set_users(self._settings.queue_url, self._install, namespace, self.login(namespace))
                self._users[namespace] = digest, now
            if not stands(self._written):
                await self._write(namespace)
                self._written[namespace] = digest, now

    @property
    def _own_users(self) -> bool:
        return self._settings.per_namespace_users and self._settings.queue.has_login

    def _name(self, namespace: str) -> str:
        return f"ks-{self._install}-{namespace}"

    def login(self, namespace: str) -> Login:
        """Users and passwords of the namespace."""
        queue = self._settings.queue
        password = queue.password()
        if not self._own_users:
            return Login(queue.user, password, queue.user, password)
        pods, keda = derived(password, f"worker/{namespace}"), derived(password, "keda")
        return Login(self._name(namespace), pods, self._name("keda"), keda)

    async def _write(self, namespace: str) -> None:
        queue = self._settings.queue
        secret = build_secret(namespace, self.login(namespace), queue.ca(), queue.sentinel_password())
        try:
            await self._api.apply(SECRETS, secret)
        except Refused as refused:
            raise Hindered(f"Secret {secret['metadata']['name']} in namespace {namespace}: {refused}") from refused


async def set_users(queue_url: str, install: str, namespace: str, login: Login) -> None:
    """Give the namespace's pods and KEDA their users, with the rules of docs/redis-acl.md, on each server that serves and,
    where it can be reached, on each replica. Raises Outage."""
    target = parse(queue_url)
    more = ["+select"] if target.options["db"] else []
    more += CLUSTER_RULES.split() if target.kind == "cluster" else []
    keys = [f"~{{ks:{install}/{namespace}/*"]
    looks = [f"%R~{{ks:{install}/*", f"~{{ks:{install}/*:delayed"]
    users = (
        _user(login.user, login.password, [*keys, *POD_RULES.split(), *more]),
        _user(login.keda_user, login.keda_password, [*looks, *KEDA_RULES.split(), *more]),
    )
    try:
        async with asyncio.timeout(target.timeout):
            serving, replicas = await servers(target)
            await asyncio.gather(*(_set(each, users) for each in serving))
    except _ERRORS as error:
        raise outage(error if str(error) else TimeoutError("no answer"), target.where) from error
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(target.timeout):
            await asyncio.gather(*(_set(each, users) for each in replicas), return_exceptions=True)


def derived(password: str, purpose: str) -> str:
    """A password that follows from the controller's own, and does not tell it."""
    return hmac.new(password.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _user(name: str, password: str, rules: list[str]) -> tuple[str, ...]:
    secret = "#" + hashlib.sha256(password.encode()).hexdigest()
    return ("ACL", "SETUSER", name, "on", "resetpass", secret, "resetkeys", *rules)


async def _set(server: Target, users: tuple[tuple[str, ...], ...]) -> None:
    client = open_client(server)
    try:
        for words in users:
            await client.execute_command(*words)
    finally:
        await close_client(client)
