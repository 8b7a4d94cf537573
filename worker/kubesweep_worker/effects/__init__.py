"""Effects: what happens to each row before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kubesweep.api.plan import Plan
from kubesweep_worker.effects.base import Delivery, Effect, idempotency_key


def open_effect(plan: Plan, headers: Callable[[], Mapping[str, str]], path: Path | None = None) -> Effect | None:
    """The effect that a plan names, None without one. ``headers`` gives the webhook's secret ones as they are now."""
    if plan.effect is None:
        return None
    if plan.effect.webhook is not None:
        from kubesweep_worker.effects.webhook import WebhookEffect  # here: an HTTP client takes long to load

        return WebhookEffect(plan, plan.effect.webhook, headers)
    if plan.effect.handler is not None:
        from kubesweep_worker.effects.handler import HandlerEffect

        return HandlerEffect(plan, plan.effect.handler, path)
    return None


__all__ = ["Delivery", "Effect", "idempotency_key", "open_effect"]
