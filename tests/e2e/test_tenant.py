"""A hostile tenant uses all its rights: the other tenant's schedule still ticks, and the controller needs no intervention."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings

from kubesweep_controller.kube.client import SCHEDULES, Refused
from tests.hostile.attacks import ATTACKS
from tests.hostile.tenants import PERIOD, Attack, Tenants, tenants
from tests.kits.deadlines import scaled
from tests.kits.polling import until
from tests.kits.servers import Server, binaries, chart_settings

LIMIT = 256  # MiB, the memory limit of the chart's controller
# Seconds that a tick may be late while a script blocks the server. It is about 20 (docs/redis.md), and more on a busy machine; a tenant that is not
# contained at all delays others for ten minutes.
DELAY = scaled(90.0)
ATTACK_COUNT = 400
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@pytest.fixture(params=sorted(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A queue with the chart's settings."""
    made = Server(request.param, requirepass="sesame", **chart_settings())
    made.login = {"password": "sesame"}
    made.start()
    yield made
    made.remove()


@pytest.fixture
async def both(server: Server, tmp_path: Path) -> AsyncIterator[Tenants]:
    async with tenants(server, tmp_path) as made:
        yield made


async def assert_unharmed(both: Tenants) -> None:
    """Ticks were on time, memory stayed below the limit, and new schedules are served."""
    assert max(both.lateness) < DELAY, both.env.controller_log()
    assert both.peak_memory() < LIMIT
    assert "please report it" not in both.env.controller_log()
    for name in ("good", "new"):
        await both.env.apply(name, schedule=None, every=f"{PERIOD:.0f}s")
        await both.env.until_reason("Ready", "Checking", name)
    await both.assert_other_tenant_served()


async def test_arbitrary_attacks_harm_only_the_attacker(both: Tenants) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=ATTACK_COUNT, deadline=None, database=None, suppress_health_check=SLOW, phases=[Phase.generate]
    )
    @given(attack=ATTACKS)
    def attack_once(attack: Attack) -> None:
        async def move() -> None:
            await both.carry_out(attack)
            await both.assert_other_tenant_served()

        asyncio.run_coroutine_threadsafe(move(), loop).result()

    await asyncio.to_thread(attack_once)
    await assert_unharmed(both)
    # The hostile namespace is served again once the attacks end.
    with contextlib.suppress(Refused):
        await both.api.delete(SCHEDULES, both.hostile, "evil")
    await both.env.api.apply(SCHEDULES, both.body("honest", schedule=None, every=f"{PERIOD:.0f}s"))

    async def served() -> bool:
        body = await both.env.api.get(SCHEDULES, both.hostile, "honest") or {}
        return bool((body.get("status") or {}).get("conditions"))

    await until(served)


async def test_endless_scripts_and_a_full_memory_delay_other_tenants_by_seconds(both: Tenants) -> None:
    def attack() -> None:
        client = both.client()
        with contextlib.suppress(redis.exceptions.RedisError):
            for number in range(200):
                client.hset(f"{{ks:{both.ref.install}/{both.hostile}/x}}:{number}", "a", "x" * 1_000_000)
        for _ in range(2):
            with contextlib.suppress(redis.exceptions.RedisError):
                client.eval("while true do end", 0)

    attacking = threading.Thread(target=attack)
    attacking.start()

    async def reported() -> bool:
        with contextlib.suppress(Exception):  # a busy server does not answer
            await both.assert_other_tenant_served()
        body = await both.env.api.get(SCHEDULES, both.hostile, "evil") or {}
        messages = [each.get("message", "") for each in (body.get("status") or {}).get("conditions", ())]
        return any("QueueMemory" in each or "QueueScript" in each for each in messages)

    await until(reported)
    await asyncio.to_thread(attacking.join)
    await both.assert_other_tenant_served()
    await assert_unharmed(both)
    with pytest.raises(redis.exceptions.RedisError):
        both.client().ping()
