"""How much of a server's memory the keys of each namespace take, and deleting what is too much.

All keys of the install are walked over in pages, so that the server serves others in between. Of a collection every entry counts: by
samples somebody could hide large entries among many small ones. A namespace at its share costs the server a tenth of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis_connect import Target
from kubesweep.queue.redis_scripts import keys
from kubesweep_controller.queue_servers import ask

SECONDS = 60.0  # that a walk over all keys of a server may take
PAGE = 1000


async def measure(server: Target, install: str, served: Collection[str]) -> Counter[str]:
    """Bytes by namespace; those that have no schedule count together, as ''. Raises Outage."""

    async def walk(client: Any) -> Counter[str]:
        sums: Counter[str] = Counter()
        async for key, size in _keys(client, f"{{ks:{install}/*"):
            namespace = _namespace(key, install)
            sums[namespace if namespace in served else ""] += size
        return sums

    return await ask(server, walk, SECONDS)


async def delete_unserved(server: Target, install: str, served: Collection[str]) -> None:
    """Delete the keys of namespaces that have no schedule. Raises Outage."""

    async def walk(client: Any) -> None:
        async for key, _ in _keys(client, f"{{ks:{install}/*"):
            if _namespace(key, install) not in served:
                await client.unlink(key)

    await ask(server, walk, SECONDS)


async def shrink(
    servers: Collection[Target], install: str, namespace: str, refs: Collection[ScheduleRef], limit: int
) -> None:
    """Delete the namespace's keys until they take at most ``limit`` bytes: those first that belong to none of ``refs``, then all
    of the largest schedule, and so on. Raises Outage."""
    known = {key: ref for ref in refs for key in keys(ref.prefix)}
    sizes: Counter[ScheduleRef] = Counter()

    async def strangers(client: Any) -> None:
        async for key, size in _keys(client, f"{{ks:{install}/{namespace}/*"):
            if key in known:
                sizes[known[key]] += size
            else:
                await client.unlink(key)

    async def largest(client: Any) -> None:
        for ref in largest_first:
            await client.unlink(*keys(ref.prefix))

    for server in servers:
        await ask(server, strangers, SECONDS)
    largest_first, left = [], sizes.total()
    for ref, size in sizes.most_common():
        if left > limit:
            largest_first.append(ref)
            left -= size
    for server in servers if largest_first else ():
        await ask(server, largest, SECONDS)


async def _keys(client: Any, pattern: str) -> AsyncIterator[tuple[bytes, int]]:
    """Each key, and its bytes."""
    cursor = 0
    while True:
        cursor, page = await client.scan(cursor, match=pattern, count=PAGE)
        pipe = client.pipeline(transaction=False)
        for key in page:
            pipe.memory_usage(key, samples=0)
        for key, size in zip(page, await pipe.execute() if page else (), strict=True):
            yield key, int(size or 0)
        if not cursor:
            return


def _namespace(key: bytes, install: str) -> str:
    return key[len(f"{{ks:{install}/") :].partition(b"/")[0].decode(errors="replace")
