"""The queue's users with least privileges: one for the pods of a namespace, one for KEDA.

A user's name contains its namespace. ``.keda`` cannot be part of a namespace's name (a DNS label has no dot), so names are unique.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from kubesweep.queue.redis.connections import Target, parse
from kubesweep_controller.children.secret import NamespaceCredentials
from kubesweep_controller.queue.servers import ask, ask_everywhere

# docs/redis-acl.md, worker and producer together: both run in the namespace. A test compares them with the page.
POD_RULES = (
    "resetchannels -@all +eval +evalsha +exists +hdel +hget +hgetall +hincrby +hkeys +hlen +hmget +hrandfield "
    "+hscan +hset +hstrlen +pexpire +sadd +srem +time +unlink +xack +xadd +xclaim +xdel +xgroup|create "
    "+xgroup|delconsumer +xinfo|consumers +xlen +xpending +xrange +xread +xrevrange +zadd +zcard +zcount +zrange "
    "+zrangebyscore +zrem +zscore"
)
KEDA_RULES = "resetchannels -@all +ping +xlen"
CLUSTER_RULES = "+cluster|slots +cluster|shards +command +readonly +asking +ping"
_KEDA = ".keda"


def user_names(install: str, namespace: str) -> tuple[str, str]:
    """The user of the pods, and KEDA's."""
    name = f"ks-{install}-{namespace}"
    return name, name + _KEDA


def namespace_of(install: str, user: str) -> str | None:
    """The namespace of a user; None: this install did not create it."""
    start = f"ks-{install}-"
    return user.removeprefix(start).removesuffix(_KEDA) if user.startswith(start) else None


async def set_users(queue_url: str, install: str, namespace: str, credentials: NamespaceCredentials) -> None:
    """Create or reset the users of the namespace's pods and of KEDA, with the rules of docs/redis-acl.md. Raises ``Outage``.

    They are set on each server that serves and, where it can be reached, on each replica.
    """
    target = parse(queue_url)
    more = ["+select"] if target.options["db"] else []
    more += CLUSTER_RULES.split() if target.kind == "cluster" else []
    own = f"{{ks:{install}/{namespace}/*"
    users = (
        _user(credentials.user, credentials.password, [f"~{own}", f"%R~control:{own}", *POD_RULES.split(), *more]),
        _user(credentials.keda_user, credentials.keda_password, [f"%R~{own}", *KEDA_RULES.split(), *more]),
    )
    await ask_everywhere(target, lambda client: _send(client, users))


async def disable_users(queue_url: str, install: str, namespace: str) -> None:
    """Remove every permission of the namespace's users, also of connected ones. Raises ``Outage``."""
    users = [
        ("ACL", "SETUSER", name, "off", "resetpass", "resetkeys", "-@all") for name in user_names(install, namespace)
    ]
    await ask_everywhere(parse(queue_url), lambda client: _send(client, users))


async def known_users(queue_url: str) -> set[str]:
    """The names of all users. Raises ``Outage``."""
    found = await ask_everywhere(parse(queue_url), lambda client: client.execute_command("ACL", "USERS"))
    return {_text(name) for names in found for name in names}


async def common_users(servers: Sequence[Target]) -> set[str]:
    """The names of the users that each of these servers has. Raises ``Outage``."""
    found = [await ask(each, lambda client: client.execute_command("ACL", "USERS")) for each in servers]
    return set.intersection(*(set(map(_text, names)) for names in found))


async def delete_users(queue_url: str, install: str, namespace: str) -> None:
    """Delete the namespace's users on every server. Raises ``Outage``."""
    words = ("ACL", "DELUSER", *user_names(install, namespace))
    await ask_everywhere(parse(queue_url), lambda client: client.execute_command(*words))


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _user(name: str, password: str, rules: list[str]) -> tuple[str, ...]:
    secret = "#" + hashlib.sha256(password.encode()).hexdigest()
    return ("ACL", "SETUSER", name, "on", "resetpass", secret, "resetkeys", *rules)


async def _send(client: Any, commands: Sequence[tuple[str, ...]]) -> None:
    for words in commands:
        await client.execute_command(*words)
