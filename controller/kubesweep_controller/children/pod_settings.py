"""What all pods of workers and producers have in common in this installation. The chart sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubesweep_controller.children.pod_defaults import PodDefaults

__all__ = ["PodSettings"]


@dataclass(frozen=True)
class PodSettings:
    """``labels`` and ``copied_labels`` apply to all children, the rest to pods."""

    image: str
    pull_policy: str = ""  # empty: the cluster's default
    pull_secrets: tuple[str, ...] = ()
    log_level: str = "info"
    release: str = ""  # the Helm release, which the workers' pods have as a label
    labels: Mapping[str, str] = field(default_factory=dict)  # of all children
    copied_labels: tuple[str, ...] = ()  # keys of labels that children copy from their SweepSchedule
    defaults: PodDefaults = field(default_factory=PodDefaults)  # a schedule's own fields override them
