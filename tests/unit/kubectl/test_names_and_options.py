"""How words on the command line become a cluster, a schedule and a command to print."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from kubectl_sweep import global_options
from kubectl_sweep.app import run
from kubectl_sweep.cluster.answers import Command, annotation_value, find_answer, fresh_nonce
from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.cluster.kinds import DEPLOYMENTS, PODS, SCHEDULES, Ref
from kubectl_sweep.cluster.options import ClusterOptions
from kubectl_sweep.context import Context
from kubesweep.errors import SpecError
from kubesweep_cli.shell.terminal import open_terminal


def context(**options: object) -> Context:
    made = Context(open_terminal(), ClusterOptions(**options))  # type: ignore[arg-type]
    made.__dict__["cluster"] = cast(Cluster, SimpleNamespace(namespace=options.get("namespace") or "default"))
    return made


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("get -A", "-A get"),
        ("status a -n shop", "-n shop status a"),
        ("status a -nshop", "-n shop status a"),
        ("status a --namespace=shop -o json", "--namespace shop status a -o json"),
        ("--context c get --as bob --as-group x --as-group y", "--context c --as bob --as-group x --as-group y get"),
        ("dead retry a --error X -- -n", "dead retry a --error X -- -n"),
        ("get -q -n", "-q -n get"),
        ("get", "get"),
    ],
)
def test_options_of_the_cluster_may_follow_the_verb(typed: str, expected: str) -> None:
    options, rest = global_options.split(typed.split())
    assert [*options, *rest] == expected.split()


@pytest.mark.parametrize("typed", ["a", "sweepschedule/a", "sweepschedule.kubesweep.dev/a", "Sweeps/a"])
def test_a_schedule_is_named_with_or_without_its_kind(typed: str) -> None:
    assert context(namespace="shop").ref(typed) == Ref("shop", "a")


def test_another_kind_and_a_namespace_in_the_name_are_refused() -> None:
    for typed in ("deployment/a", "shop/a"):
        with pytest.raises(SpecError, match="is no schedule"):
            context().ref(typed)


def test_all_namespaces_and_a_name_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="exclude each other"):
        context(all_namespaces=True).ref("a")


def test_a_printed_command_reaches_the_same_schedule_in_the_same_cluster() -> None:
    found = context(context="my cluster", as_user="bob", as_groups=("a", "b")).command(
        "throttle", Ref("shop", "a"), "reset"
    )
    assert found == "kubectl sweep throttle a reset -n shop --context 'my cluster' --as bob --as-group a --as-group b"


def test_a_verb_of_two_words_stands_before_the_name() -> None:
    assert context().command("dead list", Ref("shop", "a")) == "kubectl sweep dead list a -n shop"


def test_the_request_timeout_replaces_both_limits_and_zero_removes_them() -> None:
    assert ClusterOptions(request_timeout=5).timeouts == (5, 5)
    assert ClusterOptions(request_timeout=0).timeouts == (None, None)
    assert None not in ClusterOptions().timeouts


def test_paths_are_those_of_the_api() -> None:
    assert SCHEDULES.path("shop", "a") == "/apis/kubesweep.dev/v1alpha1/namespaces/shop/sweepschedules/a"
    assert SCHEDULES.path(None) == "/apis/kubesweep.dev/v1alpha1/sweepschedules"
    assert PODS.path("shop", "a/b", "log") == "/api/v1/namespaces/shop/pods/a%2Fb/log"
    assert DEPLOYMENTS.group == "apps"


def test_a_nonce_is_new_each_time_and_is_no_json() -> None:
    found = {fresh_nonce(0.0) for _ in range(100)}
    assert len(found) == 100
    assert all(each.startswith("19700101T000000Z-") for each in found)


def test_a_filter_makes_the_value_an_object() -> None:
    assert annotation_value("n") == "n"
    assert (
        annotation_value("n", error="HTTP500", keys=["42", '["eu","17"]'])
        == '{"nonce": "n", "error": "HTTP500", "keys": ["42", "[\\"eu\\",\\"17\\"]"]}'
    )
    assert annotation_value("n", sweep="9f") == '{"nonce": "n", "sweep": "9f"}'


def test_names_of_a_command_in_the_status() -> None:
    assert (Command.RETRY.answered_as, Command.RETRY.handled_as) == ("RetryDeadLetters", "retryDeadLetters")
    assert (Command.TRIGGER.answered_as, Command.TRIGGER.annotation) == ("Trigger", "kubesweep.dev/trigger")


def test_an_answer_is_found_by_its_command_and_its_nonce() -> None:
    answer = {"command": "Trigger", "nonce": "a", "outcome": "Refused", "message": "a sweep runs"}
    assert find_answer({"answers": [answer]}, Command.TRIGGER, "a") == answer
    assert find_answer({"answers": [answer]}, Command.TRIGGER, "b") is None
    assert find_answer({"answers": [answer]}, Command.APPROVE, "a") is None


@pytest.mark.parametrize("handled", ["a", '{"nonce": "a", "sweep": "9f"}'])
def test_an_older_controller_answers_by_what_it_handled(handled: str) -> None:
    found = find_answer({"handled": {"approve": handled}}, Command.APPROVE, "a")
    assert found is not None
    assert found["outcome"] == "Handled"
    assert find_answer({"handled": {"approve": '{"nonce": '}}, Command.APPROVE, "a") is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get", "-o", "csv"], 2, "unknown output format.\nWrite -o wide, -o json, -o yaml, -o name."),
        (["get", "a", "-l", "x=y"], 2, "-l and a NAME exclude each other"),
        (["why", "a", "-o", "wide"], 2, "Write -o json, -o yaml."),
        (["throttle", "a", "fast"], 2, "the throttle is 'fast'"),
        (["get", "--request-timeout", "soon"], 2, "--request-timeout soon:"),
        (["trigger", "a", "--timeout", "1.5h"], 2, "--timeout 1.5h:"),
        (["suspend", "--all", "--yes", "-n"], 2, "requires an argument"),
        (["suspend", "--all", "--yes", "-n", ""], 2, "it is empty."),  # $SPACE, which is not set
        (["dead", "purge", "a", "--all", "--yes", "--error", ""], 2, "it is empty."),
    ],
)
def test_wrong_words_are_found_before_the_cluster_is_asked(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("module", ["typer", "kubernetes"])
def test_an_installation_without_the_extra_says_what_to_install(module: str) -> None:
    program = f"import sys\nsys.modules['{module}'] = None\nfrom kubectl_sweep.main import main\nmain(['get'])\n"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == (
        f"error: the Python package {module} is not installed, which this command needs.\n"
        'Install it:  pip install "kubesweep[kubectl]"\n'
    )


def test_help_does_not_load_the_client_of_the_cluster() -> None:
    program = "import sys\nfrom kubectl_sweep.app import run\ntry:\n    run(['--help'])\nfinally:\n    print('kubernetes' in sys.modules)\n"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
    for verb in ("get", "status", "why", "trigger", "approve", "suspend", "resume", "throttle"):
        assert f" {verb} " in ran.stdout
