"""Effects: the webhook or handler that runs for each row before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep_worker.effects.base import Delivery, Effect, Record, idempotency_key, unrecorded


def open_effect(
    plan: Plan,
    headers: Callable[[], Mapping[str, str]],
    path: Path | None = None,
    signing: Callable[[], tuple[str, ...]] = tuple,
    record: Record = unrecorded,
) -> Effect | None:
    """The plan's effect, or None. ``headers`` returns the webhook's current secret headers, ``signing`` the secrets that sign
    its requests."""
    if plan.effect is None:
        return None
    if plan.effect.webhook is not None:
        from kubesweep_worker.effects.webhook import WebhookEffect  # slow to import

        return WebhookEffect(plan, plan.effect.webhook, headers, signing=signing, record=record)
    if plan.effect.handler is not None:
        from kubesweep_worker.effects.handler import HandlerEffect

        return HandlerEffect(plan, plan.effect.handler, path, record)
    return None


__all__ = ["Delivery", "Effect", "idempotency_key", "open_effect"]
