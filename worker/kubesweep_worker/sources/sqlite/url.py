"""The URL of a SQLite file: ``sqlite:///name.db`` is relative, ``sqlite:////folder/name.db`` absolute.

``?mode=ro`` (or ``immutable=1``) opens it read-only. ``?foreign_keys=off`` does not enforce foreign keys, which is SQLite's
own default. Other parameters are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from kubesweep.api.plan import Plan
from kubesweep.errors import SweepFailure


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    path: str
    read_only: bool = False
    foreign_keys: bool = True

    def check(self, plan: Plan) -> None:
        """Raises SweepFailure where the plan writes through a URL that only reads, or needs another database."""
        if plan.source.health is not None:
            raise no_health()
        if self.read_only and plan.write is not None and not plan.dry_run:
            raise SweepFailure(
                "ReadOnly",
                "the database's URL says mode=ro, so a sweep cannot write: remove it from the URL, or set mode: DryRun",
            )


def no_health() -> SweepFailure:
    return SweepFailure(
        "HealthUnsupported", "spec.source.health needs PostgreSQL: a SQLite database has no such signals. Remove it"
    )


def parse_url(url: str) -> SqliteUrl:
    """Raises SweepFailure."""
    before, _, query = url.strip().partition("?")
    path = unquote(before.removeprefix("sqlite:///"))
    if not path or path.startswith("sqlite:"):
        raise SweepFailure("UrlInvalid", "write sqlite:///name.db for a file here, or sqlite:////folder/name.db")
    given = parse_qs(query)
    mode = given.get("mode", ["rw"])[-1]
    if mode not in ("ro", "rw", "rwc"):
        raise SweepFailure(
            "UrlInvalid", "the database's URL has a mode that a sweep cannot use: write mode=ro, mode=rw, or none"
        )
    keys = given.get("foreign_keys", ["on"])[-1]
    if keys not in ("on", "off"):
        raise SweepFailure(
            "UrlInvalid", "the database's URL has foreign_keys: write foreign_keys=on, foreign_keys=off, or none"
        )
    read_only = mode == "ro" or given.get("immutable", ["0"])[-1] in ("1", "on", "yes", "true")
    return SqliteUrl(path, read_only, keys == "on")
