"""All targets by name."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import answers, cache, objects, overlays, plans, records, sqlite_files, urls, yaml_files

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {
    each.name: each
    for each in (
        objects.TARGET,
        *yaml_files.TARGETS,
        plans.TARGET,
        *records.TARGETS,
        sqlite_files.TARGET,
        cache.TARGET,
        overlays.TARGET,
        answers.TARGET,
        *urls.TARGETS,
    )
}
