"""The page of a running sweep over HTTP."""

from __future__ import annotations

from tests.kits.console import CARTS, NOW, Provider, document, serving, sweep


async def test_a_running_sweep_gets_a_rate_from_the_readings_of_its_viewers() -> None:
    moment = [NOW]
    provider = Provider()
    async with serving(provider, clock=lambda: moment[0], interval=0.0) as client:
        for second in range(3):
            moment[0] = NOW + second
            running = sweep("Running", took=None, at=NOW - 9, planned=1000, applied=100 * second)
            provider.documents = (document(lastSweep=running),)
            text = await (await client.get(f"{CARTS}/sweeps/latest")).text()
        assert "100 rows/s" in text
        assert "8.0 s" in text
        assert "while you watched" in text


async def test_the_page_of_a_running_sweep_has_every_signal_of_its_database() -> None:
    lag = {"name": "replayLag", "value": "0.3 s", "limit": "2.0 s", "percent": 100}
    made = document(lastSweep=sweep("Running", took=None), history=[sweep(id="41aa")], signals=[lag])
    async with serving(Provider(made)) as client:
        text = await (await client.get(f"{CARTS}/sweeps/latest")).text()
        assert [word for word in ("Nothing slows it down", "replay lag", "0.3 s", "2.0 s") if word not in text] == []
        assert "replay lag" not in await (await client.get(f"{CARTS}/sweeps/41aa")).text(), "it is not of then"
