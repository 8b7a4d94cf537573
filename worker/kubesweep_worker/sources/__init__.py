"""Sources: the databases that can be swept. ``open_source`` chooses one by the URL's scheme; base.py has the protocol.

To add a database such as MySQL:

1. Add a folder beside postgres/ and sqlite/ with a class that implements ``InspectableSource`` (base.py).
2. Implement ``Dialect`` (conditions.py) there, for the SQL of conditions.
3. Choose the class by the URL's scheme in ``open_source``.
4. Accept the scheme in ``SCHEMES`` of kubesweep.api.secret_values.
"""

from __future__ import annotations

from collections.abc import Callable

from kubesweep.api.plan import Plan
from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources.base import InspectableSource


def open_source(plan: Plan, url: Callable[[], str]) -> InspectableSource:
    """A source that connects lazily. ``url`` is called here for its scheme and again for every connection, so that a rotated
    password takes effect. Raises SweepFailure UrlInvalid, and Outage UrlMissing where ``url`` raises OSError."""
    try:
        scheme = url().strip().partition("://")[0].lower()
    except OSError as error:
        raise Outage("UrlMissing", f"the database's URL cannot be read: {error.strerror or error}") from None
    if scheme in ("postgresql", "postgres"):
        from kubesweep_worker.sources.postgres.source import PostgresSource

        return PostgresSource(plan, url)
    if scheme == "sqlite":
        from kubesweep_worker.sources.sqlite.source import SqliteSource

        return SqliteSource(plan, url)
    raise SweepFailure(
        "UrlInvalid",
        "the database's URL must start with postgresql:// or sqlite:/// (its text is not shown: it may hold a password)",
    )


__all__ = ["open_source"]
