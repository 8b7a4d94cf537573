"""The options that stand before or after a verb: those of the cluster, as in kubectl, and those of the output. And their values. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubesweep.durations import parse_duration
from kubesweep.errors import SpecError

__all__ = ["VALUED", "seconds_of", "split"]

FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose", "--no-color", "-A", "--all-namespaces"})
VALUED = frozenset(
    {"-n", "--namespace", "--context", "--kubeconfig", "--as", "--as-group", "--request-timeout"}
)  # each is followed by its value


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """These options with their values, and everything else. What follows ``--`` is something else."""
    found: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(arguments) and arguments[at] != "--":
        word = arguments[at]
        name, has_value, value = word.partition("=")
        at += 1
        if word in FLAGS:
            found.append(word)
        elif name in VALUED and has_value:
            found += [name, value]
        elif word in VALUED:
            found += arguments[at - 1 : at + 1]
            at += 1
        elif word.startswith("-n") and not word.startswith("--") and len(word) > 2:
            found += ["-n", word[2:]]  # -nNAME
        else:
            rest.append(word)
    return found, [*rest, *arguments[at:]]


def seconds_of(text: str, option: str) -> float:
    """A time on the command line. kubectl accepts a number without a unit too: seconds. Raises SpecError, which names the option."""
    try:
        return float(text) if text.isascii() and text.isdigit() else parse_duration(text)
    except ValueError as error:
        raise SpecError("BadOption", f"{option} {text}: {error}.") from None
