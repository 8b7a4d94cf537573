"""The API server and the models agree: it accepts what the models accept, and rejects the same durations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kubesweep.api.models.spec import SweepSchedule
from tests.kits.kubectl import kubectl, namespace_with_crd, schedule
from tests.unit.core.test_any_spec import SPEC

FEW = settings(
    deadline=None, max_examples=8, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with namespace_with_crd() as name:
        yield name


def rejections(documents: list[dict[str, Any]]) -> dict[str, str]:
    """The API server's message for each rejected document, by name."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": documents})
    ran = kubectl("create", "--dry-run=server", "-o", "name", "-f", "-", stdin=text)
    names = {each["metadata"]["name"] for each in documents}
    accepted = set(re.findall(r"/(\S+)$", ran.stdout, re.MULTILINE))
    rejected = dict(re.findall(r'SweepSchedule\S* "(\S+)" is invalid:(.*)', ran.stderr))
    assert names == accepted | rejected.keys(), ran.stderr
    return rejected


def accepted_by_the_model(document: dict[str, Any]) -> bool:
    try:
        SweepSchedule.model_validate(document)
    except ValidationError:
        return False
    return True


@FEW
@given(specs=st.lists(SPEC, min_size=15, max_size=15))
def test_the_api_server_accepts_what_the_model_accepts(namespace: str, specs: list[dict[str, Any]]) -> None:
    documents = [{**schedule(f"spec-{number}", namespace), "spec": spec} for number, spec in enumerate(specs)]
    assert all(map(accepted_by_the_model, documents))
    assert rejections(documents) == {}


UNIT = st.sampled_from(["ms", "s", "m", "h", "d"])
NUMBER = st.one_of(st.integers(0, 120), st.sampled_from([365, 366, 3600, 86400, 86401, 999999, 1000000, 999999999999]))
PART = st.builds(lambda number, unit: f"{number}{unit}", NUMBER, UNIT)
DURATION = st.one_of(
    PART,
    st.lists(PART, min_size=2, max_size=3).map("".join),
    st.sampled_from(
        [
            "5s",
            "4999ms",
            "24h",
            "24h1ms",
            "1d",
            "23h59m59s1000ms",
            "60s",
            "1m1ms",
            "1ms",
            "0ms",
            "365d",
            "8760h",
            "8760h1ms",
            "59s999ms",
        ]
    ),
    st.text("0123456789dhms.- ", max_size=8),
)


@FEW
@given(texts=st.lists(DURATION, min_size=20, max_size=20))
def test_the_model_and_the_api_server_agree_on_durations(namespace: str, texts: list[str]) -> None:
    documents: list[dict[str, Any]] = []
    for text in texts:
        for spec in (
            {"every": text},
            {"source": {**schedule("x")["spec"]["source"], "lockTimeout": text}},
            {"deadLetters": {"retention": text}},
            {"match": [{"column": "a", "before": f"now-{text}"}]},
            {"retry": {"backoff": text, "maxBackoff": "1m"}},
        ):
            documents.append(schedule(f"duration-{len(documents)}", namespace, **spec))
    rejected = rejections(documents)
    differ = [
        each["spec"] for each in documents if accepted_by_the_model(each) == (each["metadata"]["name"] in rejected)
    ]
    assert differ == []
