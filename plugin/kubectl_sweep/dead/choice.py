"""Which dead letters a command is about: as options, as the value of an annotation, and counted in a status. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_sweep.cluster.answers import annotation_value
from kubesweep.api.models.status import MAX_ERROR_GROUPS
from kubesweep.errors import SpecError
from kubesweep.queue.model import ErrorGroup, parse_key, plain_key
from kubesweep_console.cluster_documents import error_groups

__all__ = ["MAX_KEYS", "Choice", "count", "make_choice", "total"]

MAX_KEYS = 1000  # of one annotation


@dataclass(frozen=True, slots=True)
class Choice:
    """Empty: all dead letters."""

    error: str = ""
    keys: tuple[str, ...] = ()

    @property
    def options(self) -> str:
        """For a printed command."""
        return "".join(
            [f" --error {shlex.quote(self.error)}"] * bool(self.error)
            + [f" --key {shlex.quote(key)}" for key in self.keys]
        )

    @property
    def arguments(self) -> list[str]:
        """For ``kubesweep-worker dead``."""
        return [
            *(["--error", self.error] if self.error else []),
            *(word for key in self.keys for word in ("--key", key)),
        ]

    def annotation(self, nonce: str) -> str:
        """The value of ``kubesweep.dev/retry-dead-letters`` and ``kubesweep.dev/purge-dead-letters``."""
        return annotation_value(nonce, error=self.error, keys=self.keys)

    def selected(self, groups: Sequence[ErrorGroup]) -> tuple[ErrorGroup, ...]:
        return tuple(each for each in groups if self.error in ("", each.error))


def make_choice(error: str | None, keys: Sequence[str] | None) -> Choice:
    """Raises SpecError for too many keys."""
    found = tuple(dict.fromkeys(plain_key(parse_key(text)) for text in keys or ()))
    if len(found) > MAX_KEYS:
        raise SpecError(
            "TooManyKeys",
            f"{len(found)} keys: one request takes at most {MAX_KEYS}. Choose by --error, or send several requests.",
        )
    return Choice(error or "", found)


def total(schedule: Mapping[str, Any]) -> int:
    """Dead letters by the status."""
    queue = (schedule.get("status") or {}).get("queue") or {}
    number = queue.get("dead")
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def count(schedule: Mapping[str, Any], choice: Choice) -> int | None:
    """How many dead letters are chosen, by the status. None: it does not tell, because keys are chosen, or because the status has
    only the largest groups."""
    if choice.keys:
        return None
    if not choice.error:
        return total(schedule)
    groups = error_groups(schedule)
    found = choice.selected(groups)
    return None if not found and len(groups) >= MAX_ERROR_GROUPS else sum(each.count for each in found)
