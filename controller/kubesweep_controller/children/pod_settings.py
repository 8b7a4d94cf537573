"""What all pods of workers and producers have in common in this installation. The chart sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubesweep_controller.children.pod_defaults import PodDefaults

__all__ = ["PodSettings"]


@dataclass(frozen=True)
class PodSettings:
    """What all pods of workers and producers have in common."""

    image: str
    pull_policy: str = ""  # empty: the cluster's own rule
    pull_secrets: tuple[str, ...] = ()
    log_level: str = "info"
    labels: Mapping[str, str] = field(default_factory=dict)  # that all children carry
    copied_labels: tuple[str, ...] = ()  # keys of labels that children take over from their SweepSchedule
    defaults: PodDefaults = field(default_factory=PodDefaults)  # what a schedule's own fields are laid over
