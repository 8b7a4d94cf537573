"""What the verbs print: lists, one screen, progress, proposals. On 60 columns, on a wide terminal and in a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping

import pytest
import yaml
from rich.console import Console

from kubectl_sweep.cluster.gitops import owner_of_spec_field
from kubectl_sweep.cluster.schema import missing_fields
from kubectl_sweep.views.columns import layout_of, show_rows, width_of
from kubectl_sweep.views.documents import as_list, as_text, full_name
from kubectl_sweep.views.fields import show_fields
from kubectl_sweep.views.progress import ended_sentence, open_progress, progress_sentence
from kubectl_sweep.views.proposal import proposal_lines
from kubectl_sweep.views.schedule_row import columns, row_of
from kubectl_sweep.views.status_screen import show_status
from kubectl_sweep.views.times import age, when
from kubesweep.api.crd import custom_resource_definition
from kubesweep_cli.shell.terminal import THEME, Terminal
from kubesweep_console.documents import Schedule
from tests.unit.kubectl.objects import NOW, Object, ago, condition, schedule, sweep


def terminal(width: int | None = None) -> Terminal:
    """A pipe, or with ``width`` a terminal without colours."""
    out, err = (
        Console(
            file=io.StringIO(),
            theme=THEME,
            width=width or 160,
            force_terminal=width is not None,
            color_system=None,
            highlight=False,
        )
        for _ in range(2)
    )
    return Terminal(out, err)


def printed(shown: Terminal) -> str:
    assert isinstance(shown.out.file, io.StringIO)
    return shown.out.file.getvalue()


def said(shown: Terminal) -> str:
    assert isinstance(shown.err.file, io.StringIO)
    return shown.err.file.getvalue()


def lines(found: list[Object], width: int | None, *, wide: bool = False, namespaces: bool = True) -> list[str]:
    rows = [row_of(Schedule(each), NOW, namespaces=namespaces, wide=wide) for each in found]
    shown = terminal(width)
    show_rows(shown, layout_of(columns(namespaces=namespaces, wide=wide), rows, width_of(shown)), rows)
    return printed(shown).splitlines()


def test_a_pipe_has_every_column_on_one_line() -> None:
    header, line = lines([schedule(queue={"ready": 3, "dead": 12})], None)
    assert (
        header.split("   ")[:3] == ["NAMESPACE", "NAME         STATE", "REASON"]
        or "NAMESPACE   NAME         STATE" in header
    )
    assert line.split() == [
        "shop",
        "close-idle",
        "Ready",
        "-",
        "*/10",
        "*",
        "*",
        "*",
        "*",
        "Completed",
        "3",
        "12",
        "9m",
        "7d",
    ]


def test_a_narrow_terminal_keeps_what_matters_and_never_wraps() -> None:
    found = lines([schedule(condition("Degraded", "True", "AwaitingApproval"))], 60)
    assert len(found) == 2
    assert all(len(each) <= 60 for each in found)
    assert {"shop", "close-idle", "Degraded", "AwaitingApproval"} <= set(found[1].split())


def test_wide_adds_what_a_person_looks_for_next() -> None:
    backlog = {"rows": 41200, "oldestTime": ago(7200), "observedTime": ago(0)}
    header, line = lines([schedule(backlog=backlog, throttle={"reason": "Annotation", "value": "5"})], None, wide=True)
    for title in ("MODE", "TIME ZONE", "ROWS", "BACKLOG", "OLDEST", "THROTTLE", "NEXT TICK"):
        assert title in header
    assert line.split()[-8:] == ["Enforce", "Etc/UTC", "100/100", "41,200", "2h", "5", "in", "10m"]


def test_a_schedule_that_never_ran_has_dashes() -> None:
    (_, line) = lines([schedule(lastSweep=None, lastSuccessfulTime=None, queue=None)], None, wide=True)
    assert line.split().count("-") >= 5


def test_a_name_from_outside_moves_no_cursor() -> None:
    (_, line) = lines([schedule(lastSweep={"id": "1", "state": "Com\x1b[2Jpleted"})], None)
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172800, "2d"),
        (63072000, "2y"),
        (-300, "in 5m"),
    ],
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    assert age(NOW - seconds, NOW) == shown


def test_times_have_date_and_zone() -> None:
    assert when(NOW, NOW + 60, "America/Sao_Paulo") == "2026-03-01 09:00:00 -03 (1 min 0 s ago)"
    assert when(None, NOW) == ""


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_documents_are_complete_and_have_no_managed_fields(output: str, read: Callable[[str], object]) -> None:
    found = schedule(meta={"managedFields": [{"manager": "x"}], "annotations": {"a": "ü\x1b[2J"}})
    text = as_text(as_list([found]), output)
    assert "\x1b" not in text
    shown = read(text)
    assert isinstance(shown, dict)
    assert (shown["kind"], shown["apiVersion"]) == ("List", "v1")
    del found["metadata"]["managedFields"]
    assert shown["items"] == [found]


def test_the_full_name_is_kubectls() -> None:
    assert full_name(schedule()) == "sweepschedule.kubesweep.dev/close-idle"


FULL = schedule(
    condition("Degraded", "True", "DeadLetters", "2 rows are dead letters"),
    spec={"timeZone": "America/Sao_Paulo", "effect": {"webhook": {"url": "https://mailer.example/expired"}}},
    lastSweep=sweep(state="Halted", reason="TooManyFailedRows", message="51 rows failed", dead=51, applied=49),
    history=[sweep(id="1", tick=ago(1200), startTime=ago(1200), completionTime=ago(1190))],
    backlog={
        "rows": 41200,
        "oldestTime": ago(7200),
        "inflowPerHour": 100,
        "outflowPerHour": 200,
        "emptyTime": ago(-3600),
        "observedTime": ago(0),
    },
    errors=[
        {
            "error": "HTTP500",
            "count": 51,
            "message": "the receiver responds 500",
            "sampleKeys": ['["42"]', '["eu","17"]'],
        }
    ],
    throttle={"reason": "ReplayLag", "percent": 50, "since": ago(60), "message": "a standby is 1 s behind"},
    queue={"ready": 3, "running": 1, "delayed": 0, "dead": 51},
)


def test_one_screen_has_what_happened_and_what_is_next() -> None:
    shown = terminal()
    show_status(shown, Schedule(FULL), NOW)
    text = printed(shown)
    for words in (
        "shop/close-idle  Overdue: Throttled",
        "every 10 minutes (*/10 * * * *) in the zone America/Sao_Paulo",
        "the table public.conversations",
        "2026-03-01 09:10:00 -03 (in 10 min 0 s)",
        "Halted (TooManyFailedRows) of 2026-03-01 08:50:00 -03 (10 min 0 s ago), in 4.0 s, 100 rows planned, applied 49, dead 51",
        "41,200 rows, the oldest stale since 2026-03-01 07:00:00 -03 (2 h 0 min ago), 100 rows/h in, 200 rows/h out, empty at",
        "a standby is 1 s behind, since 2026-03-01 08:59:00 -03",
        'HTTP500  51 rows (such as 42, ["eu","17"]): the receiver responds 500',
        "Degraded  True, DeadLetters, for 5m: 2 rows are dead letters",
    ):
        assert words in text
    assert "KeepingUp" not in text
    assert text.count("Halted") == 2


@pytest.mark.parametrize("width", [60, 80, 200])
def test_one_screen_fits_the_terminal(width: int) -> None:
    shown = terminal(width)
    show_status(shown, Schedule(FULL), NOW)
    assert [each for each in printed(shown).splitlines() if len(each.rstrip()) > width] == []


def test_a_suspended_schedule_has_no_next_tick() -> None:
    shown = terminal()
    show_status(shown, Schedule(schedule(spec={"suspend": True})), NOW)
    assert "next ticks    none while it is suspended" in printed(shown)


def test_fields_continue_below_themselves_on_a_terminal() -> None:
    shown = terminal(30)
    show_fields(shown, [("a", "one two three four five six"), ("", "seven")])
    assert [each.rstrip() for each in printed(shown).splitlines()] == [
        "  a  one two three four five",
        "     six",
        "     seven",
    ]


def test_progress_names_what_slows_it_down() -> None:
    running = schedule(
        lastSweep=sweep(state="Running", completionTime=None, applied=42, dead=1),
        throttle={"message": "a standby is behind"},
    )
    found = Schedule(running)
    assert (
        progress_sentence(found, found.last, NOW)
        == "Running, 43 of 100 rows, 43 %, applied 42, dead 1, 10 min 0 s. a standby is behind"
    )
    assert "waiting for the sweep" in progress_sentence(found, None, NOW)


def test_the_end_of_a_sweep_is_one_line() -> None:
    found = Schedule(FULL).last
    assert found is not None
    assert ended_sentence(found) == "sweep 9f2c: Halted in 4.0 s, 100 rows planned, applied 49, dead 51. 51 rows failed"


def test_without_a_terminal_progress_is_a_line_for_each_change_and_one_each_five_seconds() -> None:
    shown, found = terminal(), Schedule(schedule(lastSweep=sweep(state="Running", completionTime=None, applied=42)))
    with open_progress(shown, "a") as progress:
        for seconds in (0, 1, 4.9, 5.0):
            progress.update(found, found.last, NOW + seconds)
        progress.hint("look")
    assert [line[:11] for line in said(shown).splitlines()] == ["a: Running,", "a: Running,", "look"]
    assert printed(shown) == ""


def awaiting(**fields: object) -> Mapping[str, str]:
    last = sweep(
        state="AwaitingApproval", reason="AboveApprovalLimit", completionTime=None, applied=0, planned=0, **fields
    )
    shown = Schedule(schedule(lastSweep=last))
    assert shown.last is not None
    return dict(reversed(proposal_lines(shown, shown.last, NOW, "UTC")))


def test_a_proposal_shows_rows_their_age_and_samples() -> None:
    found = awaiting(
        proposal={
            "rows": 41200,
            "oldestTime": ago(7200),
            "newestTime": ago(60),
            "sampleKeys": ['["42"]', '["eu","17"]'],
        },
        message="41,200 rows are stale",
    )
    assert found["rows"] == "41,200 rows"
    assert found["oldest"] == "stale since 2026-03-01 10:00:00 UTC (2 h 0 min ago)"
    assert found["newest"] == "stale since 2026-03-01 11:59:00 UTC (1 min 0 s ago)"
    assert found["why"] == "AboveApprovalLimit: 41,200 rows are stale"
    assert found["such as"] == '42, ["eu","17"]'
    assert found["then"] == "deletes the row"


def test_what_a_proposal_of_an_older_controller_does_not_know_is_left_out() -> None:
    found = awaiting(sampleKeys=['["7"]'])
    assert (found["such as"], found.keys() & {"rows", "oldest", "newest"}) == ("7", set())


@pytest.mark.parametrize(
    ("manager", "field", "tool"),
    [
        ("argocd-controller", "suspend", "Argo CD"),
        ("kustomize-controller", "suspend", "Flux"),
        ("helm-controller", "suspend", "Flux"),
        ("argocd-controller", "mode", ""),
        ("kubectl-client-side-apply", "suspend", ""),
    ],
)
def test_a_gitops_tool_is_known_by_the_field_that_it_owns(manager: str, field: str, tool: str) -> None:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {f"f:{field}": {}}}}
    assert owner_of_spec_field({"metadata": {"managedFields": [entry]}}, "suspend") == tool
    assert owner_of_spec_field({"metadata": {}}, "suspend") == ""


def test_fields_that_a_crd_lacks_are_named_by_their_path() -> None:
    crd = custom_resource_definition()
    assert missing_fields(crd) == ()
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del properties["status"]["properties"]["backlog"]
    del properties["status"]["properties"]["history"]["items"]["properties"]["dead"]
    del properties["spec"]["properties"]["limits"]["properties"]["batchRows"]
    assert missing_fields(crd) == ("spec.limits.batchRows", "status.backlog", "status.history[].dead")
    crd["spec"]["versions"][0]["name"] = "v1"
    assert missing_fields(crd) == ("v1alpha1",)
