"""What Kubesweep calls for each abandoned cart. It runs in the shop's own image, on the shop's own code."""

from __future__ import annotations

from kubesweep_worker import Context, Reject, Row, handler
from shop.outbox import Outbox


@handler(lifespan=Outbox)
async def remind(row: Row, ctx: Context) -> None:
    """Mail the owner once, however often this cart comes: the outbox goes by the same key each time."""
    if "@" not in (row["email"] or ""):
        raise Reject("there is no address to mail to")
    await ctx.state.put(ctx.idempotency_key, row["email"], "you-forgot-something")
