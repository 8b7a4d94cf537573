"""What one object may cost its neighbours: how deep it is nested, and how much of a list is read at once.

The API server takes objects that are nested 10,000 levels deep
(https://github.com/kubernetes/apimachinery/blob/master/pkg/util/json/json.go). Whoever compares, copies or prints one of them
recursively fails, and with it the list that all schedules come from. So an object is cut off where it comes in.
"""

from __future__ import annotations

from typing import Any

from kubesweep.api.objects import DEEPEST

PARSED = 12_000  # levels that may be parsed: the interpreter's limit of recursion in this program
CUT = "..."  # stands for what lies too deep; load_object refuses an object that has it by its depth


def shallow(value: Any, most: int = DEEPEST + 1) -> Any:
    """A copy of plain data with at most ``most`` levels of maps and lists. Works without recursion."""
    whole: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, int]] = [(value, whole, 0, 0)]
    while todo:
        one, place, at, depth = todo.pop()
        if not isinstance(one, dict | list):
            place[at] = one
        elif depth == most:
            place[at] = CUT
        elif isinstance(one, dict):
            place[at] = made = dict.fromkeys(one)
            todo += [(inner, made, name, depth + 1) for name, inner in one.items()]
        else:
            place[at] = listed = [None] * len(one)
            todo += [(inner, listed, number, depth + 1) for number, inner in enumerate(one)]
    return whole[0]
