"""What an error of the server or the connection means: always an ``Outage`` with a reason of its own.

Nothing here is permanent from the queue's point of view: a password is rotated, a limit is raised, a replica is
promoted, and work goes on. So even a refused password is an Outage, and claiming pauses until it is cured.
"""

from __future__ import annotations

import re

import msgspec
from redis import exceptions as known

from kubesweep.errors import Damaged, Outage

# What a client raises where a server cannot be used.
ERRORS = (known.RedisError, known.RedisClusterException, OSError, TimeoutError)
# The first word of an error reply -> (reason, what to do).
_BY_CODE = {
    "NOAUTH": ("QueueAuth", "the server wants a password. Put one into the queue URL, or into its password_file"),
    "WRONGPASS": (
        "QueueAuth",
        "the server refused user or password. Compare the queue URL (or its password_file) with the server's ACL",
    ),
    "NOPERM": ("QueueRights", "this user may not do that. Give it the rules of docs/redis-acl.md for its part"),
    "LOADING": ("QueueLoading", "the server has just started and still reads its data. Wait; work goes on by itself"),
    "READONLY": (
        "QueueReadOnly",
        "this server is a replica. A failover may be under way; otherwise name the primary, or use redis+sentinel://",
    ),
    "OOM": (
        "QueueFull",
        "the server has no memory left (maxmemory). Raise the limit, or find out which keys took it; jobs in hand still "
        "settle, new ones are refused",
    ),
    "MISCONF": (
        "QueueDisk",
        "the server cannot write its data to disk and refuses changes. See its log; free disk space",
    ),
    "NOREPLICAS": ("QueueNoReplicas", "too few replicas follow the primary (min-replicas-to-write). Bring them back"),
    "BUSY": (
        "QueueBusy",
        "somebody's script keeps the server busy. SLOWLOG GET tells whose; SCRIPT KILL ends it (a controller does that by "
        "itself); one that has written is ended by a restart only",
    ),
    "MASTERDOWN": ("QueueReadOnly", "this replica has lost its primary. Wait for the failover, or name the primary"),
    "CLUSTERDOWN": ("QueueCluster", "the cluster is not whole: some slots are served by nobody. See CLUSTER INFO"),
    "MOVED": ("QueueCluster", "the server is part of a cluster. Use redis+cluster:// in the queue URL"),
    "ASK": ("QueueCluster", "the slot is moving to another node. Wait; work goes on by itself"),
    "TRYAGAIN": ("QueueCluster", "the slot is moving to another node. Wait; work goes on by itself"),
    "CROSSSLOT": ("QueueCluster", "the server does not honour hash tags ({...}) in key names. Use one that does"),
}
# What a value that somebody else wrote makes of reading it.
UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, msgspec.MsgspecError)
DAMAGED = "QueueDamaged"
_DAMAGE = "what it keeps of this schedule is not what Kubesweep wrote: somebody else writes to its keys. They are deleted, and the schedule starts anew"
_IN_SCRIPT = (
    "The user executing the script can't",
    "ACL failure in script",
)  # NOPERM, as Redis and Valkey say it there
_CLIENT = re.compile(r"<redis\..*?> - ")  # a client with all its settings, as redis-py names a Sentinel
_UNREACHABLE = "cannot be reached. See that it runs, and that address, network policy and TLS (rediss://) fit"
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
    (known.ClusterError, "TRYAGAIN"),  # sent from node to node until the client gave up
)


def is_no_group(error: Exception) -> bool:
    """The server is there, the schedule's group is not: *lost*, no outage."""
    return isinstance(error, known.ResponseError) and str(error).startswith("NOGROUP")


def outage(error: Exception, where: str) -> Outage:
    """What to raise for ``error``; ``where`` names the server without its password."""
    reason, advice = _meaning(error)
    # Behind its first line redis-py lists the words of a command, whatever they are.
    said = _CLIENT.sub("", str(error).partition("\n")[0])
    kind = Damaged if reason == DAMAGED else Outage
    return kind(reason, f"queue {where}: {advice} ({type(error).__name__}: {said})")


def damaged(error: Exception, where: str) -> Damaged:
    """For an answer that cannot be read."""
    return Damaged(DAMAGED, f"queue {where}: {_DAMAGE} ({type(error).__name__}: {str(error)[:200]})")


def _meaning(error: Exception) -> tuple[str, str]:
    code = str(error).partition(" ")[0].rstrip(":")
    # A script call has more words than the server reads of somebody unknown.
    if "NOAUTH" in (code, getattr(error, "status_code", "")) or "unauthenticated" in str(error):
        return _BY_CODE["NOAUTH"]
    if any(said in str(error) for said in _IN_SCRIPT):
        return _BY_CODE["NOPERM"]
    for class_, name in _BY_CLASS:
        if isinstance(error, class_):
            return _BY_CODE[name]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if "user_script" in str(error):  # a script met a key of another type, or a value that is none of ours
        return DAMAGED, _DAMAGE
    return _transport(error)


def _transport(error: Exception) -> tuple[str, str]:
    if "max number of clients" in str(error):
        return "QueueClients", "the server takes no more connections (maxclients). Raise it, or run fewer workers"
    if isinstance(error, (known.TimeoutError, TimeoutError)):
        return (
            "QueueTimeout",
            "did not answer in time: it may have done what it was asked. See its load (SLOWLOG GET) and the network",
        )
    if type(error).__name__ in ("MasterNotFoundError", "SlaveNotFoundError"):
        return (
            "QueueNoPrimary",
            "no Sentinel that answers knows a primary of that name. Compare the service's name with SENTINEL MASTERS; see that "
            "the Sentinels can be reached, and that TLS, sentinel_username and password fit",
        )
    if isinstance(error, known.RedisClusterException):
        return "QueueCluster", "no node of the cluster can be used. See CLUSTER INFO on one of them"
    if isinstance(error, (known.ConnectionError, OSError)):
        return "QueueUnreachable", _UNREACHABLE
    return "QueueError", "refused the move. See the error"
