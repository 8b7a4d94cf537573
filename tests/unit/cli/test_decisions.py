"""Exit codes, names, the cli of the queue, and the clock: the decisions of the command line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kubesweep.errors import KubesweepError, LeaseLost, Outage, SpecError, SweepFailure
from kubesweep.queue.model import PlanVersion, ScheduleRef, Sweep, SweepState, parse_key, plain_key
from kubesweep.ticks import Cron, Every
from kubesweep_cli.commands.dead_letters import Choice
from kubesweep_cli.runner.clock import Clock
from kubesweep_cli.shell.exit_codes import Exit, NotFound, Unreachable, code_of_error, code_of_sweep
from kubesweep_cli.shell.schedule_names import find, label, labels, typed_name
from kubesweep_cli.shell.state_paths import file_url, log_file, queue_option, queue_url, state_folder, url_option
from kubesweep_cli.syntax.arguments import in_typers_order
from kubesweep_cli.syntax.group import meant

IDLE = ScheduleRef.local("default", "process-idle")
EXPIRED = ScheduleRef.local("default", "process-expired")
ELSEWHERE = ScheduleRef.local("shop", "process-idle")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("X", "x"), 2),
        (SweepFailure("TableMissing", "x"), 2),
        (Outage("Unreachable", "x"), 3),
        (Unreachable("x"), 3),
        (NotFound("x"), 1),
        (LeaseLost("x"), 1),
        (KubesweepError("x"), 1),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_class_of_an_error_decides_the_exit_code(error: BaseException, code: int) -> None:
    assert code_of_error(error) == code


@pytest.mark.parametrize("state", list(SweepState))
def test_only_a_sweep_without_failure_is_clean(state: SweepState) -> None:
    bad = {SweepState.AWAITING_APPROVAL, SweepState.HALTED, SweepState.FAILED, SweepState.LOST}
    sweep = Sweep(id="1", tick=0.0, plan=PlanVersion(0, "a"), state=state)
    assert code_of_sweep(sweep) == (Exit.FAILURE if state in bad else Exit.CLEAN)


def test_a_sweep_with_a_dead_row_or_no_sweep_at_all_is_not_clean() -> None:
    sweep = Sweep(id="1", tick=0.0, plan=PlanVersion(0, "a"), state=SweepState.COMPLETED, planned=9, applied=8, dead=1)
    assert code_of_sweep(sweep) == Exit.FAILURE
    assert code_of_sweep(None) == Exit.FAILURE


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("run -f a.yaml -v --no-color", "-v --no-color run -f a.yaml"),
        ("dead show -- -v", "dead show -- -v"),
        ("-n shop status", "status -n shop"),
        ("-n=shop -o=json status carts -q", "-q status --namespace=shop --output=json carts"),
        ("--queue=sqlite:///q.db --no-color dead list", "--no-color dead list --queue=sqlite:///q.db"),
        ("-nshop dead", "dead -nshop"),
        ("dead -n shop list", "dead list -n shop"),
        ("--queue=redis://q dead -n shop retry a", "dead retry --queue=redis://q -n shop a"),
        ("-f a.yaml -f b.yaml check", "check -f a.yaml -f b.yaml"),
        ("-f a.yaml", "-f a.yaml"),
        ("status -n= carts", "status --namespace= carts"),
        ("run -", "run -"),
        ("-f", "-f"),
        ("--version -n x", "--version -n x"),
        ("", ""),
    ],
)
def test_options_may_stand_before_and_behind_the_command(typed: str, read: str) -> None:
    assert in_typers_order(typed.split()) == read.split()


@pytest.mark.parametrize(
    ("word", "group", "command"),
    [
        ("get", "", "kubesweep status"),
        ("apply", "", "kubesweep run"),
        ("logs", "", "kubesweep.log"),
        ("why", "", "kubesweep status NAME"),
        ("delete", "", "kubesweep dead purge"),
        ("carts.yaml", "", "kubesweep run carts.yaml"),
        ("delete", "dead", "kubesweep dead purge"),
        ("get", "dead", "kubesweep dead list"),
    ],
)
def test_a_verb_of_another_program_gets_the_command_that_does_it(word: str, group: str, command: str) -> None:
    assert command in meant(word, group=group)


def test_a_word_without_a_meaning_gets_no_command() -> None:
    assert meant("frobnicate") == meant("apply", group="dead") == ""


def test_a_name_finds_its_schedule_in_any_namespace() -> None:
    assert find([IDLE, EXPIRED], "process-idle", None, "q") == IDLE
    assert find([IDLE, ELSEWHERE], "process-idle", "shop", "q") == ELSEWHERE


def test_a_name_that_two_namespaces_share_needs_a_namespace() -> None:
    with pytest.raises(SpecError, match="-n NAMESPACE, one of default, shop"):
        find([IDLE, ELSEWHERE], "process-idle", None, "q")


def test_an_unknown_name_lists_the_nearest_and_the_others() -> None:
    with pytest.raises(SpecError, match=r"Did you mean process-idle\? It has: process-idle, process-expired"):
        find([IDLE, EXPIRED], "proces-idle", None, "q")


def test_an_empty_queue_has_a_hint_and_hides_its_password() -> None:
    with pytest.raises(SpecError) as caught:
        find([], "a", None, "redis://user:s3cret@host:6379/0")
    assert " run sweep.yaml" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_labels_of_schedules_with_one_name_differ() -> None:
    again = ScheduleRef("local", "default", "process-idle", "11111111-2222")
    assert (label(IDLE), label(ELSEWHERE)) == ("process-idle", "shop/process-idle")
    assert len(set(labels([IDLE, again, ELSEWHERE]))) == 3


def test_keys_are_shown_as_they_can_be_typed() -> None:
    assert (plain_key(("42",)), plain_key(("eu", "17"))) == ("42", '["eu","17"]')
    for awkward in ('["42"]', "[]", '["eu","17"]', "", "a b", '"x"'):
        assert parse_key(plain_key((awkward,))) == (awkward,)
    choice = Choice(queue="q", keys=("42", '["eu","17"]'), error="Odd One")
    assert choice.parsed == (("42",), ("eu", "17"))
    assert choice.filters == """ --error 'Odd One' --key 42 --key '["eu","17"]'"""


def test_the_queue_is_the_option_else_the_variable_else_a_file_of_the_users_own(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "a b")}
    default = queue_url(None, environ)
    assert default == file_url(tmp_path / "a b" / "kubesweep" / "queue.db")
    assert default.endswith("a%20b/kubesweep/queue.db")
    assert queue_url(None, {**environ, "KUBESWEEP_QUEUE": "sqlite:///x.db"}) == "sqlite:///x.db"
    assert queue_url("sqlite:///y.db", {**environ, "KUBESWEEP_QUEUE": "sqlite:///x.db"}) == "sqlite:///y.db"
    assert stat.S_IMODE(state_folder(environ).stat().st_mode) == 0o700
    assert log_file(environ).parent == state_folder(environ)


def test_without_the_variable_the_state_folder_is_in_the_home(tmp_path: Path) -> None:
    for environ in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"}):
        assert state_folder(environ) == tmp_path / ".local" / "state" / "kubesweep"


def test_a_state_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="--queue sqlite"):
        state_folder({"XDG_STATE_HOME": str(tmp_path / "file")})


def test_a_printed_command_repeats_the_queue_but_no_password() -> None:
    assert queue_option(None) == ""
    assert queue_option("sqlite:////tmp/q.db") == " --queue sqlite:////tmp/q.db"
    assert queue_option("redis://:s3cret@host/0") == ' --queue "$KUBESWEEP_QUEUE"'


def test_a_schedule_that_never_ticked_waits_for_its_next_time() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    assert clock.due(1000.0, None) is None
    assert clock.next == 1020.0
    assert clock.due(1019.9, None) is None
    assert clock.due(1020.0, None) == 1020.0


def test_after_a_break_the_latest_missed_tick_is_due_once() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    assert clock.due(1000.0, 120.0) == 960.0
    clock.answered(960.0)
    assert clock.due(1001.0, 120.0) is None
    assert clock.next == 1020.0


def test_a_tick_before_an_edit_is_never_due() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    assert clock.due(1000.0, 120.0, since=970.0) is None
    assert clock.due(1020.0, 120.0, since=970.0) == 1020.0
    later = Clock(Every(60.0), started=1000.0)
    assert later.due(1000.0, 120.0, since=950.0) == 960.0


def test_after_the_machine_slept_one_tick_is_due() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    clock.due(1000.0, None)
    assert clock.due(5000.0, None) == 4980.0
    clock.answered(4980.0)
    assert clock.due(5001.0, 4980.0) is None


def test_a_tick_that_another_process_opened_is_not_opened_again() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    clock.due(1000.0, None)
    assert clock.due(1020.5, 1020.0) is None


def test_a_tick_that_could_not_be_opened_is_due_again() -> None:
    clock = Clock(Every(60.0), started=1000.0)
    clock.due(1000.0, None)
    assert clock.due(1020.0, None) == 1020.0
    clock.retry(1020.0)
    assert clock.due(1020.3, None) == 1020.0


def test_a_cron_clock_follows_its_zone() -> None:
    clock = Clock(Cron("0 3 * * *", "America/Sao_Paulo"), started=1_767_225_600.0)  # 2026-01-01T00:00:00Z
    clock.due(1_767_225_600.0, None)
    assert clock.next == 1_767_247_200.0  # 06:00 UTC


def test_a_printed_command_repeats_the_database_but_never_its_password() -> None:
    assert url_option(None) == ""
    assert url_option("sqlite:///my carts.db") == " --url 'sqlite:///my carts.db'"
    assert url_option("postgresql://sweep:hunter2@db/support") == " --url URL"


def test_a_printed_name_has_the_namespace_that_must_be_typed() -> None:
    assert typed_name(ScheduleRef.local("default", "carts")) == "carts"
    assert typed_name(ScheduleRef.local("shop", "carts")) == "carts -n shop"
