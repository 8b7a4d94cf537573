"""The CRD on a real API server: what kubectl does with a SweepSchedule, without a controller."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep import load_object
from kubesweep.api.loading import yaml_document
from kubesweep.api.models.status import Status
from tests.kits.deadlines import scaled
from tests.kits.kubectl import apply, kubectl, kubectl_output, namespace_with_crd, read, schedule
from tests.unit.core.test_status import WHOLE

ROOT = Path(__file__).parents[2]
SIDES = ((), ("--server-side",))


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with namespace_with_crd() as name:
        yield name


def examples() -> list[tuple[str, dict[str, Any]]]:
    texts = {str(file.relative_to(ROOT)): file.read_text() for file in sorted(ROOT.glob("examples/**/*.yaml"))}
    for page in ("README.md", "docs/migrating.md", "docs/handlers.md", "docs/concepts.md"):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)):
            texts[f"{page}#{number}"] = block
    found = [(name, each) for name, text in texts.items() for each in yaml.safe_load_all(text)]
    return [(name, each) for name, each in found if isinstance(each, dict) and each.get("kind") == "SweepSchedule"]


@pytest.mark.parametrize("sides", SIDES, ids=("client", "server"))
@pytest.mark.parametrize(("name", "document"), examples(), ids=lambda each: each if isinstance(each, str) else "")
def test_every_example_is_accepted_and_has_the_same_spec_in_a_cluster(
    namespace: str, name: str, document: dict[str, Any], sides: tuple[str, ...]
) -> None:
    document = copy.deepcopy(document)
    document["metadata"] = {"name": document["metadata"]["name"], "namespace": namespace}
    printed = apply(document, "--dry-run=server", "-o", "json", *sides)
    assert "Warning" not in printed
    live, file = (load_object(each) for each in (json.loads(printed), document))
    assert live.spec == file.spec


def test_the_examples_include_known_files() -> None:
    assert {"README.md#0", "examples/conversations/sweep.yaml"} <= {name for name, _ in examples()}


@pytest.mark.parametrize("sides", SIDES, ids=("client", "server"))
def test_applying_twice_changes_nothing(namespace: str, sides: tuple[str, ...]) -> None:
    name = f"twice-{len(sides)}"
    document = schedule(name, namespace, suspend=True, limits={"rowsPerSecond": 5})
    text = yaml.safe_dump(document)
    assert kubectl("diff", *sides, "-f", "-", stdin=text).returncode == 1
    apply(document, *sides)
    compared = kubectl("diff", *sides, "-f", "-", stdin=text)
    assert (compared.returncode, compared.stdout) == (0, "")
    # The API server stores the status's default with the first write after the creation, which is the controller's.
    write_status(name, namespace, WHOLE)
    before = read(f"sweep/{name}", namespace)
    apply(document, *sides)
    assert read(f"sweep/{name}", namespace) == before
    assert kubectl("diff", *sides, "-f", "-", stdin=text).returncode == 0


def test_a_server_side_dry_run_reports_errors_and_creates_nothing(namespace: str) -> None:
    apply(schedule("dry", namespace), "--dry-run=server")
    refused = kubectl(
        "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(schedule("dry", namespace, every="2s"))
    )
    assert 'spec.every: Invalid value: "2s": must be between 5s and 24h' in refused.stderr
    assert kubectl("get", "sweep", "dry", "-n", namespace).returncode == 1


def test_a_field_edited_by_hand_conflicts_only_if_the_file_has_it(namespace: str) -> None:
    apply(schedule("patched", namespace), "--server-side")
    kubectl_output("patch", "sweep", "patched", "-n", namespace, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    apply(schedule("patched", namespace), "--server-side")
    assert read("sweep/patched", namespace)["spec"]["suspend"] is True
    again = kubectl(
        "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(schedule("patched", namespace, suspend=False))
    )
    assert 'conflict with "kubectl-patch" using kubesweep.dev/v1alpha1: .spec.suspend' in again.stderr


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("spec", ["<string>", "timeZone", "DryRun counts and samples, and changes nothing."]),
        ("spec.match", ["<[]Object>", "One condition on a row", "before", "1 to 100 strings or integers"]),
        ("spec.write.delete.archiveTo.table", ["The archive table; it has every column of the source table."]),
        ("spec.mode", ["ENUM:\n    Enforce\n    DryRun"]),
        ("status.lastSweep", ["planned", "Rows that were found stale."]),
        ("status.conditions", ["When status last changed.", "-required-"]),
    ],
)
def test_explain_describes_the_fields(namespace: str, field: str, words: list[str]) -> None:
    printed = kubectl_output("explain", f"sweepschedule.{field}")
    assert [word for word in words if word not in printed] == []


@pytest.mark.parametrize("name", ["sweepschedules", "sweepschedule", "sweep", "sweeps", "all"])
def test_each_resource_name_lists_the_schedules(namespace: str, name: str) -> None:
    apply(schedule("named", namespace))
    assert "named" in kubectl_output("get", name, "-n", namespace, "-o", "name")


def test_the_columns_show_the_schedule_and_its_state(namespace: str) -> None:
    apply(schedule("cron", namespace, every=None, schedule="*/5 * * * *"))
    apply(schedule("period", namespace, suspend=True))
    head, cron, period = columns(namespace, "cron", "period")
    assert head == ["NAME", "SCHEDULE", "SUSPEND", "READY", "LAST SWEEP", "QUEUED", "DEAD", "LAST SUCCESS", "AGE"]
    assert cron[:3] == ["cron", "*/5 * * * *", "false"]
    assert period[:3] == ["period", "30s", "true"]
    status = {**WHOLE, "lastSuccessfulTime": "2026-03-01T00:00:41.250000Z"}
    write_status("period", namespace, status)
    head, row = columns(namespace, "period", wide=True)
    shown = dict(zip(head, row, strict=True))
    assert (shown["READY"], shown["QUEUED"], shown["DEAD"], shown["MODE"]) == ("True", "3", "1", "Enforce")
    assert shown["LAST SWEEP"] == WHOLE["lastSweep"]["state"]
    assert (shown["REASON"], shown["MESSAGE"]) == ("Checked", "The table was found and the check passed.")
    assert re.fullmatch(r"\d+[ydhms].*", shown["LAST SUCCESS"])


def columns(namespace: str, *names: str, wide: bool = False) -> list[list[str]]:
    printed = kubectl_output("get", "sweep", *names, "-n", namespace, *(("-o", "wide") if wide else ()))
    head = printed.splitlines()[0]
    starts = [found.start() for found in re.finditer(r"(?:^|(?<=   ))\S", head)]
    pairs = list(zip(starts, [*starts[1:], None], strict=True))
    return [[line[start:end].strip() for start, end in pairs] for line in printed.splitlines()]


def write_status(name: str, namespace: str, status: dict[str, Any]) -> None:
    patch = json.dumps([{"op": "add", "path": "/status", "value": status}])
    kubectl_output("patch", "sweep", name, "-n", namespace, "--subresource=status", "--type=json", "-p", patch)


def test_an_unseen_schedule_has_no_observed_generation(namespace: str) -> None:
    apply(schedule("unseen", namespace) | {"status": {"observedGeneration": 5}}, "--server-side")
    body = read("sweep/unseen", namespace)
    assert (body["metadata"]["generation"], body["status"]) == (1, {"observedGeneration": -1})


def test_a_status_is_stored_unchanged_and_keeps_the_generation(namespace: str) -> None:
    apply(schedule("stored", namespace))
    write_status("stored", namespace, WHOLE)
    body = read("sweep/stored", namespace)
    assert body["status"] == WHOLE
    assert body["metadata"]["generation"] == 1
    assert Status.model_validate(body["status"]).queue is not None
    kubectl_output("wait", "--for=condition=Ready", f"--timeout={scaled(60):.0f}s", "sweep/stored", "-n", namespace)
    printed = kubectl_output("describe", "sweep", "stored", "-n", namespace)
    assert [each for each in ("Applied:", "duplicate key", "Retry Dead Letters:") if each not in printed] == []


def test_conditions_of_two_writers_are_merged_by_type(namespace: str) -> None:
    apply(schedule("merged", namespace))
    for manager, kind in (("one", "Ready"), ("two", "Stalled")):
        condition = {**WHOLE["conditions"][0], "type": kind}
        part = {name: each for name, each in schedule("merged", namespace).items() if name != "spec"}
        apply(
            part | {"status": {"conditions": [condition]}},
            "--server-side",
            "--subresource=status",
            f"--field-manager={manager}",
        )
    assert [each["type"] for each in read("sweep/merged", namespace)["status"]["conditions"]] == ["Ready", "Stalled"]


PLAIN_SCALARS = [
    "y", "Y", "n", "N", "yes", "Yes", "on", "off", "~", "010", "0o17", "0x1F", "1_000", "1e3", "1e-3", ".5", "1:30",
    "2026-01-01", "+5", "0b11", "nO", "1.0", "-0", "0777", "09", "0E0", "a1", "1a", "-", "-1", "=a",
]  # fmt: skip


def test_plain_yaml_scalars_are_read_as_kubectl_reads_them() -> None:
    text = "apiVersion: v1\nkind: List\nmetadata: {}\nitems:\n- apiVersion: kubesweep.dev/v1alpha1\n  kind: SweepSchedule\n"
    text += "  metadata: {name: bare}\n  spec: {worker: {podTemplate: {values: [" + ", ".join(PLAIN_SCALARS) + "]}}}\n"
    printed = kubectl_output("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", stdin=text)
    by_kubectl = json.loads(printed)["spec"]["worker"]["podTemplate"]["values"]
    (document,) = yaml_document.read(text, "")
    assert isinstance(document, yaml_document.Document)
    by_kubesweep = document.data["items"][0]["spec"]["worker"]["podTemplate"]["values"]
    assert [(word, kind(each), each) for word, each in zip(PLAIN_SCALARS, by_kubesweep, strict=True)] == [
        (word, kind(each), each) for word, each in zip(PLAIN_SCALARS, by_kubectl, strict=True)
    ]


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
