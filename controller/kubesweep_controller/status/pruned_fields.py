"""A CRD that is older than this controller, so the API server prunes the status fields that the CRD does not know.

Every reconcile compares with the status that was last written. If fields of it were missing each time, every reconcile would report
them as new: the status would be written again, Events repeated, and commands executed again because ``status.handled`` is gone. So
this module remembers what was written, as long as the process lives, and restores what the API server pruned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesweep_controller.children.names import ScheduleKey

Status = Mapping[str, Any]
log = logging.getLogger("kubesweep.controller")


@dataclass
class PrunedFields:
    """The full statuses behind the pruned ones."""

    _written: dict[ScheduleKey, tuple[Status, Status]] = field(
        default_factory=dict
    )  # the pruned status and the full one
    _reported: set[str] = field(default_factory=set)

    def restored(self, key: ScheduleKey, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object as it would be under this version's CRD."""
        kept, whole = self._written.get(key, ({}, {}))
        return {**body, "status": whole} if kept and body.get("status") == kept else body

    def wrote(self, key: ScheduleKey, status: Status, answer: Mapping[str, Any]) -> None:
        """``answer``: the object after ``status`` was written."""
        kept = answer.get("status") or {}
        if kept == status:
            self._written.pop(key, None)
            return
        self._written[key] = kept, status
        if news := _missing(status, kept, "status") - self._reported:
            self._reported |= news
            log.warning(
                "the CRD in the cluster is older than this controller, so the API server prunes %s. Apply the CRD of this version",
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
