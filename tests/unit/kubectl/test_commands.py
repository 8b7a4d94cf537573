"""Commands to the controller: what is written into the object, and what each answer becomes; with controllers of today and older ones."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubectl_sweep.app import run
from tests.unit.kubectl.api import Object, Request, page, serve, status, write_kubeconfig
from tests.unit.kubectl.objects import condition, schedule, sweep

AWAITS = sweep(state="AwaitingApproval", reason="AboveApprovalLimit", completionTime=None, sampleKeys=['["42"]'])


class Controller:
    """One schedule, and a controller that acts on its annotations as ``react`` says: from an annotation's value to fields of the status."""

    def __init__(self, found: Object, react: Callable[[str, str], Object]) -> None:
        self.found = found
        self.react = react
        self.patches: list[Object] = []

    def __call__(self, request: Request) -> tuple[int, Object | list[Object]]:
        if request.method == "PATCH":
            self.patches.append(request.body)
            for name, value in request.body.get("metadata", {}).get("annotations", {}).items():
                self.found["status"] |= self.react(name.partition("/")[2], value)
            return 200, self.found
        if "watch" in request.query:
            return 200, []
        return page(self.found) if request.path.endswith("sweepschedules") else (200, self.found)

    @property
    def annotations(self) -> Object:
        found: Object = self.patches[-1]["metadata"]["annotations"]
        return found


def answering(outcome: str, **fields: Any) -> Callable[[str, str], Object]:
    """A controller of today."""

    def react(name: str, value: str) -> Object:
        nonce = json.loads(value)["nonce"] if value.startswith("{") else value
        return {"answers": [{"command": name.capitalize(), "nonce": nonce, "outcome": outcome, **fields}]}

    return react


def typed(folder: Path, controller: Controller | Fleet, *words: str) -> int:
    with serve(controller) as api, pytest.raises(SystemExit) as ended:
        run([*words, "--kubeconfig", write_kubeconfig(folder, api.url)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_trigger_is_a_fresh_nonce_and_its_answer_names_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller = Controller(schedule(), answering("Done", sweep="9f2d"))
    assert typed(tmp_path, controller, "trigger", "close-idle") == 0
    assert typed(tmp_path, controller, "trigger", "close-idle") == 0
    assert capsys.readouterr().out == "shop/close-idle: sweep 9f2d has started.\n" * 2
    nonces = {patch["metadata"]["annotations"]["kubesweep.dev/trigger"] for patch in controller.patches}
    assert len(nonces) == 2


def test_a_refusal_is_the_controllers_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    controller = Controller(schedule(), answering("Refused", message="not triggered: sweep 1 is not finished yet"))
    assert typed(tmp_path, controller, "trigger", "close-idle", "--wait") == 1
    said = capsys.readouterr().err
    assert "shop/close-idle: not triggered: sweep 1 is not finished yet." in said
    assert "kubectl sweep why close-idle -n shop" in said


def test_a_schedule_with_an_invalid_spec_is_not_triggered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invalid = schedule(condition("Ready", "False", "InvalidSpec", "spec.match: unknown field"))
    controller = Controller(invalid, answering("Done"))
    assert typed(tmp_path, controller, "trigger", "close-idle") == 1
    assert "its spec is invalid" in capsys.readouterr().err
    assert controller.patches == []


def test_an_older_controller_tells_the_sweep_by_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def react(name: str, value: str) -> Object:
        return {"handled": {name: value}, "lastSweep": sweep(id="new", dead=1, applied=99)}

    assert typed(tmp_path, Controller(schedule(), react), "trigger", "close-idle", "--wait") == 1, "a row died"
    out = capsys.readouterr().out
    assert "sweep new has started." in out
    assert "sweep new: Completed in 4.0 s, 100 rows planned, applied 99, dead 1" in out


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({"state": "Halted", "reason": "TooManyFailedRows", "retrying": 3}, 1),
        ({"dead": 1}, 1),
        ({"state": "Halted", "reason": "TooManyFailedRows"}, 1),
        ({"state": "Failed", "reason": "TableMissing"}, 1),
        ({"state": "Superseded"}, 1),
        ({"state": "Lost"}, 1),
        ({"state": "AwaitingApproval", "completionTime": None}, 1),
    ],
)
def test_the_exit_code_tells_how_the_sweep_ended(tmp_path: Path, fields: Object, code: int) -> None:
    done = schedule(lastSweep=sweep(id="later"), history=[sweep(id="9f2d", **fields)])
    controller = Controller(done, answering("Done", sweep="9f2d"))
    assert typed(tmp_path, controller, "trigger", "close-idle", "--wait") == code


@pytest.mark.parametrize(("settled", "code"), [({"applied": 100}, 0), ({"applied": 99, "dead": 1}, 1)])
def test_the_end_of_the_retries_decides_how_a_sweep_ended(
    tmp_path: Path, settled: Object, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    class Retrying(Controller):
        """The row that is retried is settled once somebody watches."""

        def __call__(self, request: Request) -> tuple[int, Object | list[Object]]:
            if "watch" not in request.query:
                return super().__call__(request)
            self.found["status"]["lastSweep"] = sweep(id="9f2d", retrying=0, **settled)
            return 200, [{"type": "MODIFIED", "object": self.found}]

    retrying = schedule(lastSweep=sweep(id="9f2d", applied=99, retrying=1))
    controller = Retrying(retrying, answering("Done", sweep="9f2d"))
    assert typed(tmp_path, controller, "trigger", "close-idle", "--wait", "--timeout", "60s") == code
    assert "retrying" not in capsys.readouterr().out


def test_a_sweep_that_does_not_end_in_time_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = schedule(lastSweep=sweep(id="9f2d", state="Running", completionTime=None))
    controller = Controller(running, answering("Done", sweep="9f2d"))
    assert typed(tmp_path, controller, "trigger", "close-idle", "--wait", "--timeout", "100ms") == 1
    said = capsys.readouterr().err
    assert "has not ended within 0.1 s. It goes on." in said
    assert "kubectl sweep why close-idle -n shop" in said


def test_exactly_the_sweep_that_was_shown_is_approved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "sweep 9f2c continues with its original cutoff"
    controller = Controller(schedule(lastSweep=AWAITS), answering("Done", message=message))
    assert typed(tmp_path, controller, "approve", "close-idle", "--yes") == 0
    assert json.loads(controller.annotations["kubesweep.dev/approve"])["sweep"] == "9f2c"
    shown = capsys.readouterr().out
    assert "such as" in shown
    assert shown.endswith(f"shop/close-idle: {message}.\n")


def test_an_older_controller_gets_no_object_that_it_would_take_for_a_nonce(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [{"error": "Http500", "count": 2, "message": "m", "sampleKeys": ['["1"]']}]
    older = schedule(lastSweep=AWAITS, errors=errors, queue={"dead": 2}, answers=None)
    controller = Controller(older, lambda name, value: {"handled": {name: value}})
    assert typed(tmp_path, controller, "approve", "close-idle", "--yes") == 0
    assert not controller.annotations["kubesweep.dev/approve"].startswith("{")
    controller.patches.clear()
    for verb in ("retry", "purge"):
        assert typed(tmp_path, controller, "dead", verb, "close-idle", "--error", "Http500", "--yes") == 2
        assert "would act on all dead letters" in capsys.readouterr().err
    assert controller.patches == []


def test_nothing_is_approved_without_an_answer_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller = Controller(schedule(lastSweep=AWAITS), answering("Done"))
    assert typed(tmp_path, controller, "approve", "close-idle") == 2
    assert "no terminal to ask on" in capsys.readouterr().err
    assert controller.patches == []


def test_there_is_nothing_to_approve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(tmp_path, Controller(schedule(), answering("Done")), "approve", "close-idle", "--yes") == 1
    assert "Its latest sweep is Completed." in capsys.readouterr().err


def test_a_rate_is_the_value_of_the_annotation_and_a_reset_removes_it(tmp_path: Path) -> None:
    def react(name: str, value: str | None) -> Object:
        return {"throttle": {"reason": "Annotation", "value": value, "message": "the rate"} if value else None}

    controller = Controller(schedule(), react)
    assert typed(tmp_path, controller, "throttle", "close-idle", "2.5") == 0
    assert controller.annotations == {"kubesweep.dev/throttle": "2.5"}
    assert typed(tmp_path, controller, "throttle", "close-idle", "reset") == 0
    assert controller.annotations == {"kubesweep.dev/throttle": None}


def owned(manager: str) -> Object:
    fields = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:suspend": {}}}}
    return schedule(meta={"managedFields": [fields]})


@pytest.mark.parametrize(("manager", "warned"), [("argocd-controller", True), ("kubectl-edit", False)])
def test_a_gitops_tool_that_will_change_the_field_back_is_named(
    tmp_path: Path, manager: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    controller = Controller(owned(manager), answering("Done"))
    assert typed(tmp_path, controller, "suspend", "close-idle") == 0
    assert controller.patches == [{"spec": {"suspend": True}}]
    assert (
        "Argo CD sets spec.suspend of shop/close-idle and will change it back." in capsys.readouterr().err
    ) is warned


def test_a_schedule_that_is_suspended_already_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller = Controller(schedule(spec={"suspend": True}), answering("Done"))
    assert typed(tmp_path, controller, "suspend", "close-idle") == 0
    assert "was suspended already" in capsys.readouterr().out
    assert controller.patches == []


class Fleet:
    """Schedules of several namespaces, one of which the API server refuses to change."""

    def __init__(self, *found: Object, refused: str = "") -> None:
        self.found, self.refused = found, refused
        self.patched: list[str] = []
        self.reads = 0

    def __call__(self, request: Request) -> tuple[int, Object | list[Object]]:
        self.reads += request.method == "GET"
        if request.path.endswith("sweepschedules"):
            return page(*self.found)
        name = request.path.rpartition("/")[2]
        [one] = [each for each in self.found if each["metadata"]["name"] == name]
        if request.method == "PATCH":
            if name == self.refused:
                return status(403, "Forbidden", f'sweepschedules "{name}" is forbidden')
            self.patched.append(name)
        return 200, one


def of_name(name: str, suspended: bool = False) -> Object:
    return schedule(meta={"name": name}, spec={"suspend": suspended})


def test_all_active_schedules_are_suspended_and_a_refusal_stops_only_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(of_name("a"), of_name("b", suspended=True), of_name("c"), of_name("d"), refused="c")
    assert typed(tmp_path, fleet, "suspend", "--all", "-A", "--yes") == 1
    assert fleet.reads == 1, "the list has all that is needed"
    assert fleet.patched == ["a", "d"]
    printed = capsys.readouterr()
    assert printed.out.count("is suspended: no tick fires") == 2
    assert "shop/c: " in printed.err


def test_a_person_who_declines_gets_another_exit_code_than_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typing = io.StringIO("n\n")
    monkeypatch.setattr(typing, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typing)
    fleet = Fleet(of_name("a"))
    assert typed(tmp_path, fleet, "suspend", "--all") == 1
    assert fleet.patched == []


def test_all_suspended_schedules_are_resumed(tmp_path: Path) -> None:
    fleet = Fleet(of_name("a"), of_name("b", suspended=True))
    assert typed(tmp_path, fleet, "resume", "--all", "--yes") == 0
    assert fleet.patched == ["b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("suspend",), "suspend takes a NAME, or --all."),
        (("suspend", "--all", "a", "--yes"), "--all and a NAME exclude each other"),
        (("suspend", "--all", "-A"), "Suspend 1 schedule of all namespaces?\nThere is no terminal to ask on."),
        (("resume", "--all", "--yes"), "No schedule of namespace shop is suspended: nothing to do."),
    ],
    ids=["nothing", "both", "no terminal", "none"],
)
def test_all_is_asked_for_and_named(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(of_name("a"))
    typed(tmp_path, fleet, *words)
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert fleet.patched == []
