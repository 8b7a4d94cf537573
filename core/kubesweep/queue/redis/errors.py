"""Maps errors of the server and the connection to an ``Outage`` with a reason.

No error is permanent for the queue: a password is rotated, a limit is raised, a replica is promoted, and work continues. So
even a refused password is an Outage, and claiming pauses until it is fixed.
"""

from __future__ import annotations

import re

from redis import exceptions as known

from kubesweep.errors import Damaged, Outage

# What a client raises where a server cannot be used.
ERRORS = (known.RedisError, known.RedisClusterException, OSError, TimeoutError)
# The first word of an error reply -> (reason, what to do).
_BY_CODE = {
    "NOAUTH": ("QueueAuth", "the server requires a password. Put one into the queue URL, or into its password_file"),
    "WRONGPASS": (
        "QueueAuth",
        "the server refused the user or password. Compare the queue URL (or its password_file) with the server's ACL",
    ),
    "NOPERM": ("QueueRights", "this user lacks a right. Give it the rules for its role in docs/redis-acl.md"),
    "LOADING": (
        "QueueLoading",
        "the server has just started and is loading its data. Wait: work continues automatically",
    ),
    "READONLY": (
        "QueueReadOnly",
        "this server is a replica. Wait if a failover is in progress. Otherwise name the primary, or use redis+sentinel://",
    ),
    "OOM": (
        "QueueFull",
        "the server has no memory left (maxmemory). Raise the limit, or find out which keys use it. Claimed jobs can "
        "still be settled, new ones are refused",
    ),
    "MISCONF": (
        "QueueDisk",
        "the server cannot write its data to disk and refuses changes. See its log, and free disk space",
    ),
    "NOREPLICAS": ("QueueNoReplicas", "the primary has too few replicas (min-replicas-to-write). Restart them"),
    "BUSY": (
        "QueueBusy",
        "a script of another client blocks the server. SLOWLOG GET shows the client, and SCRIPT KILL ends the script (the "
        "controller does that automatically). Only a restart ends a script that has written",
    ),
    "MASTERDOWN": ("QueueReadOnly", "this replica has lost its primary. Wait for the failover, or name the primary"),
    "CLUSTERDOWN": ("QueueCluster", "the cluster is incomplete: no node serves some slots. See CLUSTER INFO"),
    "MOVED": ("QueueCluster", "the server is part of a cluster. Use redis+cluster:// in the queue URL"),
    "ASK": ("QueueCluster", "the slot is moving to another node. Wait: work continues automatically"),
    "TRYAGAIN": ("QueueCluster", "the slot is moving to another node. Wait: work continues automatically"),
    "CROSSSLOT": ("QueueCluster", "the server ignores hash tags ({...}) in key names. Use one that supports them"),
}
DAMAGED = "QueueDamaged"
_DAMAGE = (
    "the keys of this schedule have data that Kubesweep did not write: another program writes to them. They are deleted, and "
    "the schedule starts again"
)
_IN_SCRIPT = (
    "The user executing the script can't",
    "ACL failure in script",
)  # NOPERM in a script, as Redis and Valkey word it
_CLIENT = re.compile(r"<redis\..*?> - ")  # the settings of a client, which redis-py puts into errors of a Sentinel
_UNREACHABLE = "cannot be reached. Check that it runs, and check the address, the network policy and TLS (rediss://)"
_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (known.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
    (known.AuthenticationError, "WRONGPASS"),
    (known.NoPermissionError, "NOPERM"),
    (known.BusyLoadingError, "LOADING"),
    (known.ReadOnlyError, "READONLY"),
    (known.OutOfMemoryError, "OOM"),
    (known.MasterDownError, "MASTERDOWN"),
    (known.ClusterDownError, "CLUSTERDOWN"),
    (known.SlotNotCoveredError, "CLUSTERDOWN"),
    (known.MovedError, "MOVED"),
    (known.AskError, "ASK"),
    (known.TryAgainError, "TRYAGAIN"),
    (known.ClusterCrossSlotError, "CROSSSLOT"),
    (known.ClusterError, "TRYAGAIN"),  # redirected from node to node until the client gave up
)


def is_no_group(error: Exception) -> bool:
    """True where the server works but lacks the schedule's consumer group: the schedule is lost, which is no outage."""
    return isinstance(error, known.ResponseError) and str(error).startswith("NOGROUP")


def outage(error: Exception, where: str) -> Outage:
    """The exception to raise for ``error``. ``where`` names the server without its password."""
    reason, advice = _meaning(error)
    # After the first line, redis-py lists the arguments of the command, which may be secret.
    said = _CLIENT.sub("", str(error).partition("\n")[0])
    kind = Damaged if reason == DAMAGED else Outage
    return kind(reason, f"queue {where}: {advice} ({type(error).__name__}: {said})")


def damaged(error: Exception, where: str) -> Damaged:
    """The exception to raise for an answer that cannot be decoded."""
    return Damaged(DAMAGED, f"queue {where}: {_DAMAGE} ({type(error).__name__}: {str(error)[:200]})")


def _meaning(error: Exception) -> tuple[str, str]:
    code = str(error).partition(" ")[0].rstrip(":")
    # The server reads only a few arguments before a login, and a script call has more.
    if "NOAUTH" in (code, getattr(error, "status_code", "")) or "unauthenticated" in str(error):
        return _BY_CODE["NOAUTH"]
    if any(said in str(error) for said in _IN_SCRIPT):
        return _BY_CODE["NOPERM"]
    for class_, name in _BY_CLASS:
        if isinstance(error, class_):
            return _BY_CODE[name]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if "user_script" in str(error):  # a script found a key of another type, or a value that Kubesweep did not write
        return DAMAGED, _DAMAGE
    return _transport(error)


def _transport(error: Exception) -> tuple[str, str]:
    if "max number of clients" in str(error):
        return (
            "QueueClients",
            "the server accepts no more connections (maxclients). Raise the limit, or run fewer workers",
        )
    if isinstance(error, (known.TimeoutError, TimeoutError)):
        return (
            "QueueTimeout",
            "the server did not answer in time. The operation may have succeeded; repeating it is harmless. Check its load (SLOWLOG GET) and the network",
        )
    if type(error).__name__ in ("MasterNotFoundError", "SlaveNotFoundError"):
        return (
            "QueueNoPrimary",
            "no Sentinel that answers has a primary of that name. Compare the service's name with SENTINEL MASTERS. Check that "
            "the Sentinels can be reached, and check TLS, sentinel_username and the password",
        )
    if isinstance(error, known.RedisClusterException):
        return "QueueCluster", "no node of the cluster can be used. See CLUSTER INFO on one of them"
    if isinstance(error, (known.ConnectionError, OSError)):
        return "QueueUnreachable", _UNREACHABLE
    return "QueueError", "the server refused the operation. See the error"
