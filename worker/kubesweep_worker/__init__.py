"""The worker of Kubesweep. What is exported here is for people who write handlers; see docs/handlers.md."""

from __future__ import annotations

from kubesweep_worker.handlers import Context, Reject, RetryAfter, Row, Skip, handler

__all__ = ["Context", "Reject", "RetryAfter", "Row", "Skip", "handler"]
