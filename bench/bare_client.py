"""A client's loop without database and queue: it posts each row that a sweep would, one request a row, as the comparison for a webhook.

python -m bench.bare_client URL ROWS CONCURRENCY
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp

from kubesweep_worker.runtime.event_loop import run


async def main(url: str, rows: int, concurrency: int) -> None:
    """Print the seconds that it took."""
    numbers = iter(range(rows))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def post() -> None:
            for number in numbers:
                values = {"id": number, "status": "pending", "expires_at": "2026-01-01T00:00:00+00:00"}
                row = {"schedule": "bench", "namespace": "default", "attempt": 1, "key": [str(number)], "row": values}
                async with session.post(url, json=row, headers={"Idempotency-Key": str(number)}) as answer:
                    assert answer.status == 200
                    await answer.read()

        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.monotonic()
        await asyncio.gather(*(post() for _ in range(concurrency)))
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
