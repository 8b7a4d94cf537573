"""examples/custom-image without its image: the handler on a real database, with the file for a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kubesweep_worker.testing import sweep

EXAMPLE = Path(__file__).parents[2] / "examples/custom-image"


@pytest.fixture
def shop(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((EXAMPLE / "schema.sql").read_text().encode())
        connection.execute(
            "INSERT INTO carts (email, updated_at) SELECT CASE g WHEN 7 THEN NULL ELSE g || '@example.com' END, "
            "now() - make_interval(hours => CASE WHEN g <= 100 THEN 48 ELSE 1 END) FROM generate_series(1, 120) g"
        )
    monkeypatch.setenv("SHOP_DATABASE_URL", database)
    yield database
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]
    sys.path.remove(str(EXAMPLE))


async def test_each_owner_of_an_abandoned_cart_is_mailed_once_despite_repeats(shop: str) -> None:
    files = EXAMPLE / "sweep.yaml"
    first = await sweep(files, url=shop)
    assert (first.sweep.planned, first.sweep.applied, first.sweep.dead) == (100, 99, 1)
    (letter,) = first.dead
    assert (letter.error, letter.message) == ("Rejected", "the cart has no email address")
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("UPDATE carts SET status = 'open' WHERE id <= 10")  # as if the write had been lost
    again = await sweep(files, url=shop)
    assert (again.sweep.planned, again.sweep.applied, again.sweep.dead) == (10, 9, 1)
    with psycopg.connect(shop) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT recipient) FROM outbox").fetchone() == (99, 99)
