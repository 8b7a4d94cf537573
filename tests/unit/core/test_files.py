from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep import Loaded, load
from kubesweep.queue.model import ScheduleRef
from tests.unit.core.spec_files import SCHEDULE, SECRET, refused, save, schedule


def one(folder: Path, *documents: dict[str, Any], **options: Any) -> Loaded:
    (found,) = load([save(folder, *documents)], **options)
    return found


def test_a_schedule_and_its_secret_in_one_file_are_ready_to_run(tmp_path: Path) -> None:
    found = one(tmp_path, schedule(startingDeadlineSeconds=300, suspend=True), SECRET)
    assert found.url == "postgresql://sweep:hunter2@db/support"
    assert found.ref == ScheduleRef.local("default", "idle")
    assert (found.name, found.deadline, found.suspend) == ("idle", 300.0, True)
    assert found.ticks.next(0.0) == 30.0
    assert found.origin == f"{tmp_path}/sweep.yaml:1"
    assert found.headers == {}


def test_without_a_deadline_no_tick_is_late(tmp_path: Path) -> None:
    found = one(tmp_path, SCHEDULE, SECRET)
    assert found.deadline is None
    assert not found.suspend


def test_the_secret_may_come_from_another_file_and_before_the_schedule(tmp_path: Path) -> None:
    first, second = save(tmp_path, SECRET, name="z.yaml"), save(tmp_path, SCHEDULE, name="a.yaml")
    assert load([first, second])[0].url == load([second, first])[0].url


def test_a_folder_gives_its_yaml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    save(tmp_path, schedule("b"), name="2.yml")
    save(tmp_path, schedule("a"), SECRET, name="1.yaml")
    (tmp_path / "notes.txt").write_text("no: [yaml")
    assert [each.name for each in load([tmp_path])] == ["a", "b"]


def test_data_is_base64_and_string_data_wins(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"sqlite:///data.db\n").decode()
    assert one(tmp_path, SCHEDULE, {**SECRET, "stringData": None, "data": {"url": encoded}}).url == "sqlite:///data.db"
    assert one(tmp_path, SCHEDULE, {**SECRET, "data": {"url": encoded}}).url == SECRET["stringData"]["url"]


def test_a_given_url_replaces_the_secret(tmp_path: Path) -> None:
    assert one(tmp_path, SCHEDULE, url="sqlite:///other.db").url == "sqlite:///other.db"


def test_headers_come_from_a_secret_too(tmp_path: Path) -> None:
    hook = {"url": "https://example.com/hook", "headersFrom": {"secretRef": {"name": "hook"}}}
    headers = {**SECRET, "metadata": {"name": "hook"}, "stringData": {"Authorization": "Bearer hunter2\n"}}
    found = one(tmp_path, schedule(effect={"webhook": hook}), SECRET, headers)
    assert found.headers == {"Authorization": "Bearer hunter2"}
    assert found.plan.effect is not None
    assert found.plan.effect.webhook is not None
    assert found.plan.effect.webhook.headers_secret == "hook"


def test_signing_secrets_come_from_one_entry_of_a_secret(tmp_path: Path) -> None:
    hook = {"url": "https://example.com/hook", "signWith": {"secretKeyRef": {"name": "hook", "key": "current"}}}
    entries = {"current": "whsec_aHVudGVyMg== hunter2\n", "X-Team": "carts"}
    found = one(
        tmp_path,
        schedule(effect={"webhook": hook}),
        SECRET,
        {**SECRET, "metadata": {"name": "hook"}, "stringData": entries},
    )
    assert (found.signing, found.headers) == (("whsec_aHVudGVyMg==", "hunter2"), {})
    assert "hunter2" not in repr(found) + found.plan.to_json()


def test_nothing_that_is_printed_or_travels_holds_a_password(tmp_path: Path) -> None:
    found = one(tmp_path, SCHEDULE, SECRET)
    assert "hunter2" not in repr(found)
    assert "hunter2" not in found.plan.to_json()


def test_a_broken_secret_is_reported_once_and_without_its_values(tmp_path: Path) -> None:
    error = refused(save(tmp_path, SCHEDULE, {**SECRET, "stringDate": {"url": "hunter2"}, "type": ["hunter2"]}))
    assert [(each.code, each.path) for each in error.problems] == [
        ("UnknownField", "stringDate"),
        ("NotAString", "type"),
    ]
    assert "hunter2" not in str(error)


def test_all_problems_of_all_files_are_reported_in_the_order_of_their_lines(tmp_path: Path) -> None:
    first = tmp_path / "first.yaml"
    first.write_text(
        "apiVersion: kubesweep.dev/v1alpha1\n"
        "kind: SweepSchedule\n"
        "metadata: {name: idle}\n"
        "spec:\n"
        "  schedule: '* * * *'\n"
        "  source:\n"
        "    urlFrom:\n"
        "      secretKeyRef: {name: db, key: url}\n"
        "  match:\n"
        "    - column: status\n"
        "      in: [pending,\n"
        "           no]\n"
        "    - column: expires_at\n"
        "      befor: now\n"
    )
    second = tmp_path / "second.yaml"
    second.write_text("kind: CronJob\n")
    error = refused(first, second)
    assert [(Path(each.file).name, each.line, each.column, each.path) for each in error.problems] == [
        ("first.yaml", 5, 13, "spec.schedule"),
        ("first.yaml", 6, 3, "spec.source.table"),
        ("first.yaml", 12, 12, "spec.match[0].in[1]"),
        ("first.yaml", 14, 7, "spec.match[1].befor"),
        ("second.yaml", 1, 7, "kind"),
    ]
    typo = error.problems[3]
    assert str(typo) == (
        f'{first}:14: spec.match[1].befor: unknown field; did you mean "before"? allowed: column, in, notIn, before, after, unit, lessThan, greaterThan, isNull, sql'
    )
    assert (typo.nearest, typo.allowed[0]) == ("before", "column")
    assert "given: no" in str(error.problems[2])
    assert str(error).count("\n") == 4
    assert error.code == "BadCron"


def test_what_kubectl_prints_can_be_loaded(tmp_path: Path) -> None:
    printed = {
        **SCHEDULE,
        "metadata": {
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "creationTimestamp": "2026-03-01T00:00:00Z",
            "generation": 7,
            "labels": None,
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            "name": "idle",
            "namespace": "support",
            "resourceVersion": "12345",
            "uid": "0b9d2b0e-7a7e-4f0e-9a51-0d9f3b6a0c11",
        },
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "queue": {"dead": 0}},
    }
    secret = {**SECRET, "type": "Opaque", "metadata": {"name": "db", "namespace": "support", "creationTimestamp": None}}
    found = one(tmp_path, printed, secret, generation=3)
    assert found.ref.uid == "0b9d2b0e-7a7e-4f0e-9a51-0d9f3b6a0c11"
    assert found.plan.generation == 7


def test_the_generation_of_a_file_is_the_callers(tmp_path: Path) -> None:
    first, second = one(tmp_path, SCHEDULE, SECRET, generation=1), one(tmp_path, SCHEDULE, SECRET, generation=2)
    assert first.plan.version.same(second.plan.version)
    assert second.plan.version.generation == 2


def test_a_date_and_a_clock_time_in_yaml_stay_the_text_that_was_written(tmp_path: Path) -> None:
    text = yaml.safe_dump_all([SCHEDULE, SECRET], sort_keys=False)
    file = tmp_path / "sweep.yaml"
    file.write_text(
        text.replace("column: expires_at", "column: day\n    in: [2026-03-01, 12:30]").replace("    before: now\n", "")
    )
    assert load([file])[0].plan.match[0].values == ("12:30", "2026-03-01")


@pytest.mark.parametrize("bare", ["y", "N", "on", "Off", "010", "0o17", "0x1F", "1_000", "1e3", "09", "+5", ".5", "-0"])
def test_what_kubectl_takes_for_a_number_or_a_truth_value_is_no_text_here_either(tmp_path: Path, bare: str) -> None:
    file = save(tmp_path, schedule(), SECRET)
    file.write_text(file.read_text().replace("before: now", f"in: [{bare}]"))
    (problem,) = refused(file).problems
    assert (problem.code, problem.given) == ("NotAString", bare)


def test_anchors_work_and_what_they_unfold_to_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    text = yaml.safe_dump_all([SCHEDULE, SECRET], sort_keys=False)
    file.write_text(text.replace("url: postgresql", "other: &u x\n  again: *u\n  url: postgresql"))
    assert load([file])[0].name == "idle"
    file.write_text(
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{b}: &{b} [{','.join(f'*{a}' for _ in range(10))}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
        )
    )
    assert refused(file).code == "TooMuchYaml"
    file.write_text("a: " + "[" * 500 + "]" * 500)
    assert refused(file).code == "TooMuchYaml"
    file.write_text("a: " + "[" * 400_000)
    assert refused(file).code == "TooMuchYaml"
    file.write_text("a: b\nc: " + "[" * 64 + "]" * 64)
    assert refused(file).code != "TooMuchYaml"
    file.write_text("a: b\nc: " + "[" * 65)
    assert refused(file).problems[0].line == 2


def test_a_byte_order_mark_and_an_empty_document_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_bytes(b"\xef\xbb\xbf---\n# nothing\n---\n" + yaml.safe_dump_all([SCHEDULE, SECRET]).encode())
    assert load([file])[0].name == "idle"


def test_two_schedules_of_one_name_in_two_namespaces_are_two(tmp_path: Path) -> None:
    other = {**SCHEDULE, "metadata": {"name": "idle", "namespace": "b"}}
    found = load([save(tmp_path, SCHEDULE, other)], url="sqlite:///x.db")
    assert len({each.ref for each in found}) == 2


def test_the_same_file_twice_is_a_duplicate(tmp_path: Path) -> None:
    file = save(tmp_path, SCHEDULE, SECRET)
    assert {each.code for each in refused(file, file).problems} == {"DuplicateSweepSchedule", "DuplicateSecret"}


def test_the_public_names_are_all_there_and_cost_nothing_until_used() -> None:
    program = (
        "import sys, kubesweep; print('pydantic' in sys.modules); [getattr(kubesweep, n) for n in kubesweep.__all__]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"False\s*", done.stdout)
