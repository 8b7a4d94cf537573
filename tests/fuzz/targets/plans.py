"""The plan's JSON: what is damaged is refused, or is a plan that survives being written. Equal plans have equal hashes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from kubesweep.api.plan import PACE, TUNING, Plan
from kubesweep.errors import SpecError
from kubesweep_worker.pod.environment import plan as plan_of
from tests.fuzz.bases import plans
from tests.fuzz.damage import damaged_bytes, damaged_text, damaged_tree
from tests.fuzz.oracles import check_spec_error
from tests.fuzz.target import Target
from tests.fuzz.targets.objects import check_plan

__all__ = ["TARGET"]

PARTS: list[type[msgspec.Struct]] = [*TUNING, *PACE]
NAMES = sorted({each.name for part in PARTS for each in msgspec.structs.fields(part)} | {"op", "values", "format"})
TREES = [json.loads(each.to_json()) for each in plans()]


@st.composite
def cases(draw: st.DrawFn) -> Any:
    """A damaged tree, text or bytes of JSON."""
    kind = draw(st.sampled_from(("tree", "tree", "text", "bytes")))
    if kind == "tree":
        return draw(damaged_tree(TREES, NAMES, most=3))
    if kind == "text":
        return draw(damaged_text([each.to_json() for each in plans()]))
    return draw(damaged_bytes([each.to_json().encode() for each in plans()]))


def check(case: Any) -> None:
    given = case if isinstance(case, str | bytes) else json.dumps(case)
    text = given.decode("utf-8", "surrogateescape") if isinstance(given, bytes) else given  # as in a pod's environment
    try:
        found = plan_of({"KUBESWEEP_PLAN": text})
    except SpecError as error:
        check_spec_error(error)
        return
    check_plan(found)
    same = Plan.from_json(_shuffled(found.to_json()))
    assert same.version == found.version, "the hash depends on the sequence of fields"
    assert msgspec.structs.replace(found, generation=found.generation + 1).version.hash == found.version.hash
    assert found.at(found.pace).runs_as(found), "the plan at its own pace is another plan"
    for part, fields in TUNING.items():
        for name in fields:
            assert _with_default(found, part, name).version.hash == found.version.hash, f"{name} changes the hash"


def _shuffled(text: str) -> str:
    """The JSON with the fields of every object in reverse."""

    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: reverse(value[name]) for name in reversed(value)}
        return [reverse(each) for each in value] if isinstance(value, list) else value

    return json.dumps(reverse(json.loads(text)))


def _with_default(plan: Plan, part: type[Any], name: str) -> Plan:
    """The plan with one field of one part at its default."""
    default = next(field.default for field in msgspec.structs.fields(part) if field.name == name)

    def changed(value: Any) -> Any:
        if isinstance(value, part):
            value = msgspec.structs.replace(value, **{name: default})
        if isinstance(value, msgspec.Struct):
            inner = {each.name: changed(getattr(value, each.name)) for each in msgspec.structs.fields(type(value))}
            return msgspec.structs.replace(value, **inner)
        return value

    made: Plan = changed(plan)
    return made


TARGET = Target("plans", cases(), check)
