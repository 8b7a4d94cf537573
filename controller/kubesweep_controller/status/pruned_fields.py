"""A CRD that is older than this controller: the API server drops what it does not know of a status.

A look compares with the status that was written last. If fields of it were gone each time, what they say would be news at
each look: written again, told again, and an order whose echo is gone obeyed again. So what was written is remembered here, as
long as this process lives, and takes the place of what was kept of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.children.names import ScheduleKey

Status = Mapping[str, Any]
_log = logging.getLogger("kubesweep.controller")


@dataclass
class PrunedFields:
    _written: dict[ScheduleKey, tuple[Status, Status]] = field(
        default_factory=dict
    )  # what was kept, what it stands for
    _told: set[str] = field(default_factory=set)

    def restored(self, key: ScheduleKey, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object as it would be under the CRD of this version."""
        kept, whole = self._written.get(key, ({}, {}))
        return {**body, "status": whole} if kept and body.get("status") == kept else body

    def wrote(self, key: ScheduleKey, status: Status, answer: Mapping[str, Any]) -> None:
        """``answer``: the object as it is after ``status`` was written."""
        kept = answer.get("status") or {}
        if kept == status:
            self._written.pop(key, None)
            return
        self._written[key] = kept, status
        if news := _missing(status, kept, "status") - self._told:
            self._told |= news
            _log.warning(
                "the CRD in the cluster is older than this controller: it drops %s. Apply the CRD of this version",
                ", ".join(sorted(news)),
            )

    def forget(self, key: ScheduleKey) -> None:
        self._written.pop(key, None)


def _missing(whole: Any, kept: Any, path: str) -> set[str]:
    if isinstance(whole, Mapping) and isinstance(kept, Mapping):
        gone = {f"{path}.{name}" for name in whole.keys() - kept.keys()}
        return gone.union(*(_missing(whole[name], kept[name], f"{path}.{name}") for name in whole.keys() & kept.keys()))
    if isinstance(whole, list) and isinstance(kept, list):
        return set().union(*(_missing(*both, f"{path}[]") for both in zip(whole, kept, strict=False)))
    return set()
