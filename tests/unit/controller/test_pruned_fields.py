from __future__ import annotations

import logging
from typing import Any

import pytest

from kubesweep_controller.status.pruned_fields import PrunedFields

KEY = "shop", "carts"
WHOLE: dict[str, Any] = {
    "observedGeneration": 1,
    "handled": {"trigger": "1", "approve": "2"},
    "conditions": [{"type": "Ready", "later": "x"}],
}
KEPT: dict[str, Any] = {"observedGeneration": 1, "handled": {"trigger": "1"}, "conditions": [{"type": "Ready"}]}


def body(status: dict[str, Any] | None) -> dict[str, Any]:
    meta = {"namespace": "shop", "name": "carts"}
    return {"metadata": meta} if status is None else {"metadata": meta, "status": status}


@pytest.fixture
def dropped() -> PrunedFields:
    return PrunedFields()


def test_what_was_written_takes_the_place_of_what_was_kept_of_it(dropped: PrunedFields) -> None:
    assert dropped.restored(KEY, body(KEPT)) == body(KEPT)
    dropped.wrote(KEY, WHOLE, body(KEPT))
    assert dropped.restored(KEY, body(KEPT)) == body(WHOLE)
    assert dropped.restored(("shop", "other"), body(KEPT)) == body(KEPT)


def test_a_status_that_another_client_wrote_is_kept_as_it_is(dropped: PrunedFields) -> None:
    dropped.wrote(KEY, WHOLE, body(KEPT))
    for status in (KEPT | {"observedGeneration": 2}, {}, None):
        assert dropped.restored(KEY, body(status)) == body(status)


@pytest.mark.parametrize("end", ["written whole", "forgotten"])
def test_nothing_is_remembered_for_longer_than_it_holds(dropped: PrunedFields, end: str) -> None:
    dropped.wrote(KEY, WHOLE, body(KEPT))
    if end == "forgotten":
        dropped.forget(KEY)
    else:
        dropped.wrote(KEY, WHOLE, body(WHOLE))
    assert dropped.restored(KEY, body(KEPT)) == body(KEPT)


def test_each_pruned_field_is_logged_once(dropped: PrunedFields, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("kubesweep").propagate = True
    for _ in range(3):
        dropped.wrote(KEY, WHOLE, body(KEPT))
    dropped.wrote(("shop", "other"), WHOLE | {"plan": "x"}, body(KEPT))
    text = [each.getMessage() for each in caplog.records]
    assert len(text) == 2
    assert "the API server prunes status.conditions[].later, status.handled.approve. Apply" in text[0]
    assert "the API server prunes status.plan. Apply" in text[1]
