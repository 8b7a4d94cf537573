"""How much of a server's memory the keys of each namespace use, and how the excess is deleted.

All keys of the install are scanned in pages, so that the server can serve other clients in between. Every entry of a collection
counts: with sampling, a few large entries could hide among many small ones. A namespace at its limit costs the server 0.1 seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Any

from kubesweep.queue.model import ScheduleRef
from kubesweep.queue.redis.connections import Target
from kubesweep.queue.redis.scripts import keys
from kubesweep_controller.queue.servers import ask

SECONDS = 60.0  # for scanning all keys of a server
PAGE = 1000


async def measure(server: Target, install: str, served: Collection[str]) -> Counter[str]:
    """Bytes by namespace. Namespaces without a schedule are summed up as ``""``. Raises ``Outage``."""

    async def walk(client: Any) -> Counter[str]:
        sums: Counter[str] = Counter()
        async for page in _pages(client, f"{{ks:{install}/*"):
            for key, size in await _sizes(client, page):
                namespace = _namespace(key, install)
                sums[namespace if namespace in served else ""] += size
        return sums

    return await ask(server, walk, SECONDS)


async def delete_unserved(server: Target, install: str, served: Collection[str]) -> None:
    """Delete the keys of namespaces that have no schedule. Raises ``Outage``."""

    async def walk(client: Any) -> None:
        async for page in _pages(client, f"{{ks:{install}/*"):
            await _delete(client, [key for key in page if _namespace(key, install) not in served])

    await ask(server, walk, SECONDS)


async def shrink(
    servers: Collection[Target], install: str, namespace: str, refs: Collection[ScheduleRef], limit: int
) -> None:
    """Delete keys of the namespace until they use at most ``limit`` bytes. Raises ``Outage``.

    Keys that belong to none of ``refs`` go first, then all keys of the largest schedule, and so on.
    """
    known = {key: ref for ref in refs for key in keys(ref.prefix)}
    sizes: Counter[ScheduleRef] = Counter()
    homes: dict[ScheduleRef, Target] = {}  # all keys of a schedule are on one server

    for server in servers:

        async def delete_unowned(client: Any, here: Target = server) -> None:
            async for page in _pages(client, f"{{ks:{install}/{namespace}/*"):
                await _delete(client, [key for key in page if key not in known])
                for key, size in await _sizes(client, [key for key in page if key in known]):
                    sizes[known[key]] += size
                    homes[known[key]] = here

        await ask(server, delete_unowned, SECONDS)
    left = sizes.total()
    for ref, size in sizes.most_common():
        if left <= limit:
            return
        await ask(homes[ref], partial(_delete, found=keys(ref.prefix)))
        left -= size


async def _pages(client: Any, pattern: str) -> AsyncIterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, page = await client.scan(cursor, match=pattern, count=PAGE)
        if page:
            yield page
        if not cursor:
            return


async def _sizes(client: Any, found: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Each key and its bytes."""
    pipe = client.pipeline(transaction=False)
    for key in found:
        pipe.memory_usage(key, samples=0)
    return [(key, int(size or 0)) for key, size in zip(found, await pipe.execute(), strict=True)]


async def _delete(client: Any, found: Sequence[bytes]) -> None:
    """One by one, because the keys of a page may be in several slots of a cluster."""
    pipe = client.pipeline(transaction=False)
    for key in found:
        pipe.unlink(key)
    await pipe.execute()


def _namespace(key: bytes, install: str) -> str:
    return key[len(f"{{ks:{install}/") :].partition(b"/")[0].decode(errors="replace")
