"""What must hold for the errors of any input."""

from __future__ import annotations

import re

from kubesweep.api.problems import SpecErrors
from kubesweep.errors import SpecError
from kubesweep.text import printable
from tests.fuzz.damage import PASSWORD

__all__ = ["check_message", "check_problems", "check_spec_error"]

LONGEST = 4096  # characters of one message
MOST = 200  # problems of one call
_CODE = re.compile(r"[A-Z][A-Za-z0-9]+")


def check_message(message: str, secret: str = PASSWORD) -> None:
    """A message is one printable line of a bounded length, without the password."""
    assert message.strip(), "a message is empty"
    assert len(message) <= LONGEST, f"a message has {len(message)} characters"
    assert printable(message) == message, f"a message has unprintable characters: {message[:200]!r}"
    assert "\n" not in message, f"a message has several lines: {message[:200]!r}"
    assert not secret or secret not in message, "a message contains the password"


def check_spec_error(error: SpecError, secret: str = PASSWORD) -> None:
    assert _CODE.fullmatch(error.code), f"{error.code!r} is not a code"
    check_message(str(error), secret)


def check_problems(error: SpecErrors, *, without_path: frozenset[str] = frozenset(), secret: str = PASSWORD) -> None:
    """Each problem names its field, except those of the codes ``without_path``."""
    assert error.problems, "an error without a problem"
    assert len(error.problems) <= MOST, f"{len(error.problems)} problems"
    for each in error.problems:
        assert _CODE.fullmatch(each.code), f"{each.code!r} is not a code"
        assert each.path or each.code in without_path, f"{each.code} names no field: {each}"
        check_message(str(each), secret)
