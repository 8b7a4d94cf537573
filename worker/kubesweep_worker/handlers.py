"""The public API for handlers. See docs/handlers.md."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kubesweep.errors import Reject, RetryAfter, Skip

__all__ = ["Context", "Lifespan", "Reject", "RetryAfter", "Row", "Skip", "handler"]

F = TypeVar("F", bound=Callable[..., Any])
Lifespan = Callable[[], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]]
ATTRIBUTE = "__kubesweep_lifespan__"


class Row(Mapping[str, Any]):
    """One row, read-only: ``row["id"]``. It has the columns of ``effect.columns`` only.

    Its repr shows the columns and hides the values, because row data must not appear in logs.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(
                f"{name!r} is not among the columns of this row ({', '.join(self._values)}); add it to effect.columns"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Row({', '.join(self._values)})"


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one call. ``state`` is what the lifespan yielded, once per worker; None without a lifespan."""

    schedule: str
    namespace: str
    sweep: str  # id of the sweep
    cutoff: str  # the database's clock when the sweep began, as text
    attempt: int  # 1 for the first
    idempotency_key: str  # the same for every attempt of this row
    state: Any = None
    log: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("kubesweep.handler"), {}), repr=False
    )


def handler(*, lifespan: Lifespan) -> Callable[[F], F]:
    """Give a handler a resource that lives as long as the worker: ``@handler(lifespan=connect)``.

    ``lifespan`` is called without arguments, once per worker, and returns a context manager (async or not). What that
    yields is ``ctx.state``. A handler without such a resource needs no decorator.
    """

    def mark(function: F) -> F:
        setattr(function, ATTRIBUTE, lifespan)
        return function

    return mark
