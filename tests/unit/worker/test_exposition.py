"""The metrics of workers, parsed as Prometheus parses them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from kubesweep.api.plan import Effect, Webhook
from kubesweep.queue.model import Claim, Claims, Job, JobKind, RowCounts
from kubesweep_worker.metrics.exposition import exposition
from kubesweep_worker.recorder import Recorder, Snapshot
from tests.kits.worker import a_plan

ROOT = Path(__file__).parents[3]
UNITS = ("_seconds", "_rows", "_ratio", "_info", "_open", "_responses")  # what the name ends with, before _total


def snapshot(namespace: str = "shop", schedule: str = "carts") -> Snapshot:
    """A worker with a webhook that did one job of each kind."""
    effect = Effect(webhook=Webhook("http://receiver/secret"))
    plan = msgspec.structs.replace(a_plan(), namespace=namespace, name=schedule, effect=effect)
    now = [0.0]
    recorder = Recorder(plan, 2, lambda: now[0])
    for kind in (JobKind.PLAN, JobKind.RANGE, JobKind.CHECK):
        claim = Claim("1", "me", 1, Job(kind, rows=5))
        recorder.claimed(Claims(jobs=(claim,), waits=((1, 0.5),)), throttled=False)
        run = recorder.begin(claim)
        now[0] += 2.0
        recorder.end(run)
    recorder.counted(RowCounts(applied=3, skipped=1, dead=1))
    recorder.called(0.02, "2xx")
    recorder.called(0.2, "429")
    return recorder.snapshot((), batch_rows=400, breaker_open=True, throttles={"ReplayLag": 0.25})


def families(*snapshots: Snapshot) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposition(snapshots).decode())}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    [one] = [
        each.value
        for family in found.values()
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    ]
    return float(one)


def test_every_number_has_its_metric_under_namespace_and_schedule() -> None:
    found, of = families(snapshot()), {"namespace": "shop", "schedule": "carts"}
    assert value(found, "kubesweep_worker_rows_total", **of, outcome="applied") == 3
    assert value(found, "kubesweep_worker_rows_total", **of, outcome="retrying") == 0
    assert value(found, "kubesweep_worker_effect_responses_total", **of, **{"class": "429"}) == 1
    assert value(found, "kubesweep_worker_phase_seconds_total", **of, phase="read") == 6
    assert value(found, "kubesweep_worker_phase_seconds_total", **of, phase="idle") == 6
    assert value(found, "kubesweep_worker_job_wait_seconds_sum", **of, kind="plan") == 0.5
    assert value(found, "kubesweep_worker_job_duration_seconds_count", **of, kind="batch") == 1
    assert value(found, "kubesweep_worker_job_duration_seconds_bucket", **of, kind="batch", le="1.0") == 0
    assert value(found, "kubesweep_worker_job_duration_seconds_bucket", **of, kind="batch", le="2.5") == 1
    assert value(found, "kubesweep_worker_effect_duration_seconds_count", **of) == 2
    assert value(found, "kubesweep_worker_batch_rows", **of) == 400
    assert value(found, "kubesweep_worker_breaker_open", **of, breaker="claim") == 1
    assert value(found, "kubesweep_worker_throttle_ratio", **of, reason="ReplayLag") == 0.25
    assert value(found, "kubesweep_build_info", component="worker") == 1


def test_the_workers_of_one_process_share_the_families() -> None:
    found = families(snapshot(schedule="carts"), snapshot(schedule="sessions"))
    rows = found["kubesweep_worker_rows"].samples
    assert {sample.labels["schedule"] for sample in rows} == {"carts", "sessions"}
    assert len(rows) == 10


def test_a_schedule_without_an_effect_has_none_of_its_metrics() -> None:
    found = families(Recorder(a_plan(), 1, lambda: 0.0).snapshot(()))
    samples = {sample.name for family in found.values() for sample in family.samples}
    assert not any("effect" in name or "throttle" in name for name in samples)
    assert "kubesweep_worker_rows_total" in samples


@pytest.mark.parametrize("family", families(snapshot()).values(), ids=lambda family: family.name)
def test_names_follow_the_conventions_of_prometheus(family: Metric) -> None:
    assert family.name.startswith("kubesweep_")
    assert family.documentation
    assert family.name.endswith(UNITS)
    assert family.type in ("counter", "gauge", "histogram")
    names = {sample.name for sample in family.samples}
    if family.type == "counter":
        assert names == {f"{family.name}_total"}
    elif family.type == "histogram":
        assert names == {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    else:
        assert names == {family.name}
    assert family.name == "kubesweep_build_info" or all(
        {"namespace", "schedule"} <= sample.labels.keys() for sample in family.samples
    )


def test_no_label_can_grow_without_bounds() -> None:
    labels = {name for family in families(snapshot()).values() for sample in family.samples for name in sample.labels}
    assert labels == {
        "namespace", "schedule", "outcome", "class", "phase", "kind", "le", "breaker", "reason", "version", "component",
    }  # fmt: skip
    assert b"secret" not in exposition([snapshot()])


def test_the_page_lists_exactly_these_metrics() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(kubesweep_worker_\w+)` \| (\w+) \|", page, re.MULTILINE))
    found = {(family.name, family.type) for family in families(snapshot()).values()}
    expected = {(f"{name}_total" if kind == "counter" else name, kind) for name, kind in found}
    assert listed == {each for each in expected if each[0] != "kubesweep_build_info"}
