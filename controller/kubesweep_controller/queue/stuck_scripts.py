"""Kills a script that blocks a server, and finds out which user sent it.

While a script runs longer than ``busy-reply-threshold``, the server accepts little more than SCRIPT KILL. Once it is free, the slow log
has the address of the client that sent the script, and the client list has that client's user if it is still connected.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kubesweep.errors import Outage
from kubesweep.queue.redis.connections import Target
from kubesweep_controller.queue.servers import ask

ROUNDS, PAUSE = 20, 0.05  # queries to the freed server, and seconds in between
_LATEST = 4  # entries of the slow log, newest first: the first long one was just killed
_CALLS = (b"EVAL", b"FCALL")


async def end_script(server: Target) -> str | None:
    """The user whose script was killed, ``""`` if unknown; None: no script ran.

    Raises ``Outage``, with UNKILLABLE in its message where the script has written, so that only a restart of the server ends it.
    """
    try:
        await ask(server, lambda client: client.execute_command("SCRIPT", "KILL"))
    except Outage as outage:
        if "NOTBUSY" in str(outage):
            return None
        raise
    for _ in range(ROUNDS):
        try:
            return await ask(server, _sender)
        except Outage as outage:
            if outage.reason != "QueueBusy":  # such as a user without that permission
                break
        await asyncio.sleep(PAUSE)  # the script ends at its next step, or another one runs
    return ""


async def _sender(client: Any) -> str:
    entries = [each for each in await client.slowlog_get(_LATEST) if bytes(each["command"]).upper().startswith(_CALLS)]
    if not entries:
        return ""
    long = max(int(each["duration"]) for each in entries) / 2
    address = next(each for each in entries if int(each["duration"]) >= long)["client_address"].decode()
    return next((str(each["user"]) for each in await client.client_list() if each["addr"] == address), "")
