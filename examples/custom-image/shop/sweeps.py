"""The handler that Kubesweep calls for each abandoned cart. It runs in the shop's image and uses the shop's code."""

from __future__ import annotations

from kubesweep_worker import Context, Reject, Row, handler
from shop.outbox import Outbox


@handler(lifespan=Outbox)
async def remind(row: Row, ctx: Context) -> None:
    """Mail the owner once, even if the handler is called again for this cart: the outbox stores each key once."""
    if "@" not in (row["email"] or ""):
        raise Reject("the cart has no email address")
    await ctx.state.put(ctx.idempotency_key, row["email"], "you-forgot-something")
