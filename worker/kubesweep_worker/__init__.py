"""The worker of Kubesweep. This module exports the API for handlers; see docs/handlers.md.

Names are imported on first use, because a program has to install its signal handlers before slow imports.
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
