"""Loading of objects from an API server: any object is refused with problems that name their fields, or has a plan."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from kubesweep.api.compile import compile_plan
from kubesweep.api.loading.objects import APPLIED, load_object
from kubesweep.api.plan import Plan
from kubesweep.api.problems import SpecErrors
from tests.fuzz.bases import FIELDS, schedules
from tests.fuzz.damage import damaged_text, damaged_tree
from tests.fuzz.oracles import check_problems
from tests.fuzz.target import Target

__all__ = ["TARGET"]

WHOLE_OBJECT = frozenset(
    {"TooDeep", "WrongType", "SeveralOf", "OneOf", "Conflict"}
)  # problems of the object, not of a field


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """An object, in some cases with the annotation in which ``kubectl apply`` keeps what was written."""
    body = draw(damaged_tree(schedules(), FIELDS))
    if draw(st.integers(0, 4)) == 0 and isinstance(body.get("metadata"), dict):
        written = json.dumps(draw(damaged_tree(schedules(), FIELDS)))
        body["metadata"]["annotations"] = {APPLIED: draw(damaged_text([written], most=1))}
    return dict(body)


def check(body: Any) -> None:
    before = copy.deepcopy(body)
    try:
        made = load_object(body)
    except SpecErrors as error:
        check_problems(error, without_path=WHOLE_OBJECT)
        return
    finally:
        assert repr(body) == repr(before), "loading changed the object"
    plan = compile_plan(made, install="shop")
    check_plan(plan)
    written = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert compile_plan(load_object(written), install="shop") == plan, (
        "the plan changes when the object is written and read again"
    )


def check_plan(plan: Plan) -> None:
    """A plan survives its JSON, in which Kubernetes finds nothing to expand."""
    text = plan.to_json()
    assert "$" not in text
    again = Plan.from_json(text)
    assert again == plan, "a plan changes when it is encoded and decoded"
    assert again.version == plan.version, "the hash changes when a plan is encoded and decoded"
    assert again.to_json() == text


TARGET = Target("objects", objects(), check)
