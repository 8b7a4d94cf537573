"""Replaces ``${NAME}`` in the stringData of a Secret by an environment variable, so that a file has no password and can be shared.

Only local runs do this: Kubernetes replaces nothing in a Secret. ``$${`` is a plain ``${``. Any other ``${`` is refused, and so is a
variable that is unset or empty, because a wrong password is harder to explain. No message contains a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_USE = re.compile(r"\$(?P<plain>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_WHOLE = re.compile(r"\s*\$([A-Za-z_][A-Za-z0-9_]*)\s*")
# A whole part of a URL, in capitals as variables are: a password may begin with a dollar.
_PART = re.compile(r"[:/@]\$[A-Z_][A-Z0-9_]*(?=[:/@?]|\s*$)")


class VariableError(ValueError):
    """``code`` is stable (docs/errors.md)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with the values of the variables. Raises VariableError."""

    def value(use: re.Match[str]) -> str:
        if use["plain"]:
            return use["plain"]
        name = use["name"]
        if name is None:
            raise VariableError("BadVariable", "only ${NAME} is replaced: write $${ for a plain ${")
        found = environ.get(name)
        if not found:
            state = "is empty" if found == "" else "is not set"
            raise VariableError(
                "VariableUnset",
                f"the variable {name} {state}: type export {name}=... first; --url replaces a database's URL; write $${{ for a plain ${{",
            )
        return found

    return _USE.sub(value, text)


def check_unbraced(url: str) -> None:
    """Raises ValueError for a database's URL with ``$NAME``, which nothing replaces."""
    fix = 'or pass --url "$NAME" in double quotes'
    if whole := _WHOLE.fullmatch(url):
        name = whole[1]
        raise ValueError(
            f"the database's URL is the text ${name}: write ${{{name}}} into the file, {fix.replace('NAME', name)}"
        )
    if _PART.search(url):
        raise ValueError(
            "a part of the database's URL is $ and a name: write ${NAME} for a variable, and %24 for a dollar of a password"
        )
