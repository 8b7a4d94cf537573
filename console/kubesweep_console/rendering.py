"""Templates and static files. Every text is escaped for HTML, and what a terminal or a reader could take for something else is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kubesweep.text import printable
from kubesweep_console.documents import Schedule

__all__ = ["STATIC", "Renderer"]

_TYPES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
STATIC: Mapping[str, tuple[bytes, str]] = {
    name: (resources.files(__package__).joinpath("static", name).read_bytes(), kind) for name, kind in _TYPES.items()
}
_VERSIONS = {name: hashlib.sha256(body).hexdigest()[:12] for name, (body, _) in STATIC.items()}


def _shown(value: object) -> object:
    """Without control characters and marks that reverse the direction of a line."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


class Renderer:
    """``base``: the path under which the console is served."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._env = Environment(
            loader=PackageLoader("kubesweep_console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.globals |= {"link": self.link, "page_of": self.page_of, "static": self.static}

    def link(self, *path: str, **query: str) -> str:
        """The address of a page; empty values are left out of the query."""
        given = {name.rstrip("_"): value for name, value in query.items() if value}
        return "/".join((self._base, *(quote(each, safe="") for each in path))) + (
            f"?{urlencode(given)}" if given else ""
        )

    def page_of(self, schedule: Schedule, *path: str, **query: str) -> str:
        """The address of a page of this schedule."""
        uid = schedule.uid if schedule.has_twin else ""
        return self.link("schedules", schedule.namespace, schedule.name, *path, **query, uid=uid)

    def static(self, name: str) -> str:
        """The address of a file, which changes with its content, so that browsers may keep it."""
        return f"{self._base}/static/{name}?v={_VERSIONS[name]}"

    def render(self, template: str, **context: Any) -> str:
        return self._env.get_template(template).render(context)
