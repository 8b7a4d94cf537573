"""The worker of Kubesweep. What is exported here is for people who write handlers; see docs/handlers.md.

Names are imported when first used: a program that has just started must listen to its signals before it imports anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubesweep_worker.handlers import Context, Reject, RetryAfter, Row, Skip, handler

__all__ = ["Context", "Reject", "RetryAfter", "Row", "Skip", "handler"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kubesweep_worker import handlers

    return getattr(handlers, name)
