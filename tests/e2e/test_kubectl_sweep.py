"""``kubectl sweep`` as people use it: with the chart's Roles operator and viewer, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from kubectl_sweep.cluster.client import connect
from kubectl_sweep.cluster.kinds import SCHEDULES
from kubectl_sweep.cluster.options import ClusterOptions
from tests.kits.cluster_users import Ran, User, create_user
from tests.kits.conversations_app import ConversationsApp, conversations_app
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.kubectl import schedule
from tests.kits.polling import eventually

ROWS = 500
EXPIRED_ROWS = ROWS // 5
NAME, BROKEN = "tidy", "broken"
MANY = 1000


@pytest.fixture(scope="module")
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    """A release that serves its namespace, with one schedule that works and one whose table does not exist."""
    with conversations_app(cluster, "kubectl-sweep", ROWS) as made:
        made.apply(made.secret(), made.plain_schedule(NAME), made.plain_schedule(BROKEN, table="conversation"))
        made.until_condition(NAME, "Ready", "True", patience=180)
        made.until_condition(BROKEN, "SourceReady", "False", "TableMissing", patience=180)
        yield made


@pytest.fixture(scope="module")
def operator(app: ConversationsApp, tmp_path_factory: pytest.TempPathFactory) -> User:
    return create_user(app.namespace, "operator", tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def viewer(app: ConversationsApp, tmp_path_factory: pytest.TempPathFactory) -> User:
    return create_user(app.namespace, "viewer", tmp_path_factory.mktemp("viewer"))


@pytest.fixture(params=["operator", "viewer"])
def user(request: pytest.FixtureRequest) -> User:
    found: User = request.getfixturevalue(request.param)
    return found


def run(user: User, terminal: bool, *words: str) -> Ran:
    return user.sweep_on_terminal(*words) if terminal else user.sweep(*words)


def stale_again(app: ConversationsApp) -> None:
    """Make the rows of the schedule stale once more."""
    with app.connect() as root:
        root.execute("UPDATE conversations SET status = 'pending' WHERE status = 'expired'")


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_both_roles_see_the_schedules(user: User, terminal: bool) -> None:
    listed = run(user, terminal, "get")
    assert listed.code == 0, listed.text
    assert "NAME" in listed.out
    assert NAME in listed.out
    assert "TableMissing" in listed.out
    wide = run(user, terminal, "get", NAME, "-o", "wide")
    assert (wide.code, BROKEN in wide.out) == (0, False)
    assert ("NEXT TICK" in wide.out) is not terminal, "a terminal of 100 columns has no place for it"


def test_documents_and_names_are_for_programs(user: User, app: ConversationsApp) -> None:
    document = json.loads(user.sweep("get", "-o", "json").out)
    assert [each["metadata"]["name"] for each in document["items"]] == [BROKEN, NAME]
    one = yaml.safe_load(user.sweep("get", f"sweepschedule/{NAME}", "-o", "yaml").out)
    assert (one["kind"], one["metadata"]["namespace"]) == ("SweepSchedule", app.namespace.name)
    assert user.sweep("get", "-o", "name").out.split()[1] == f"sweepschedule.kubesweep.dev/{NAME}"
    assert user.sweep("get", "-l", "no=such").err.startswith(
        "There is no schedule with the labels no=such in namespace"
    )


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_both_roles_see_one_screen_and_the_cause(user: User, terminal: bool) -> None:
    screen = run(user, terminal, "status", NAME)
    assert (screen.code, "next ticks" in screen.out, "conversations" in screen.out) == (0, True, True), screen.text
    cause = run(user, terminal, "why", BROKEN)
    assert cause.code == 1
    assert "(TableMissing)" in cause.out
    assert f"kubectl sweep check {BROKEN}" in cause.out
    assert "may not read" not in cause.out
    assert json.loads(user.sweep("why", BROKEN, "-o", "json").out)["cause"] == "SourceNotReady"
    assert ("\x1b[" in cause.out) is terminal


def test_why_names_what_keeps_a_worker_from_its_work(viewer: User, app: ConversationsApp) -> None:
    """The objects are those of a real cluster: the unit tests have the other causes."""
    app.apply(app.secret("wrong-password", app.database_url(password="wrong")))
    worker = {"maxReplicas": 1, "cooldown": "5s"}
    huge = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
    app.apply(
        app.plain_schedule("no-login", secret="wrong-password"),
        app.plain_schedule("no-secret", secret="nowhere"),
        app.plain_schedule("no-image", worker={**worker, "image": "registry.invalid/app:1"}),
        app.plain_schedule("no-node", worker={**worker, "resources": huge}),
    )
    expected = {
        "no-login": ("WrongPassword", "(Secret wrong-password)"),
        "no-secret": ("WrongPassword", "(Secret nowhere)"),
        "no-image": ("ImageNotPulled", "registry.invalid/app:1"),
        "no-node": ("Unschedulable", "No node of the cluster takes the worker's pod"),
    }
    for name, (cause, words) in expected.items():
        found: dict[str, str] = {}

        def is_named(name: str = name, cause: str = cause, found: dict[str, str] = found) -> bool:
            found |= json.loads(viewer.sweep("why", name, "-o", "json").out)
            return found["cause"] == cause

        eventually(f"why {name} says {cause}: {found}", 120, is_named)
        assert words in found["sentence"]
        app.delete(name)


WRITES = [
    ("trigger", NAME), ("trigger", NAME, "--wait"), ("suspend", NAME), ("throttle", NAME, "5"), ("throttle", NAME, "reset"),
]  # fmt: skip


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("words", WRITES, ids=" ".join)
def test_a_viewer_is_refused_and_learns_which_right_is_missing(
    viewer: User, app: ConversationsApp, words: tuple[str, ...], terminal: bool
) -> None:
    before = app.namespace.get("kubesweep.dev/v1alpha1 SweepSchedule", NAME)
    refused = run(viewer, terminal, *words)
    assert refused.code == 1
    assert (
        f"You need the right to patch sweepschedules in namespace {app.namespace.name}: docs/kubectl.md#rights."
        in refused.text
    )
    after = app.namespace.get("kubesweep.dev/v1alpha1 SweepSchedule", NAME)
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_other_namespaces_are_not_theirs(user: User) -> None:
    refused = user.sweep("get", "-A")
    assert refused.code == 1
    assert "You need the right to list sweepschedules in all namespaces" in refused.err


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_triggered_sweep_is_followed_until_it_ends(operator: User, app: ConversationsApp, terminal: bool) -> None:
    stale_again(app)
    swept = run(operator, terminal, "trigger", NAME, "--wait", "--timeout", "3m")
    assert swept.code == 0, swept.text
    assert "has started." in swept.out
    assert "Completed in " in swept.out
    assert f"{EXPIRED_ROWS} rows planned, applied {EXPIRED_ROWS}" in swept.out
    assert app.count_expired() == EXPIRED_ROWS


def test_kubectl_finds_the_plugin(operator: User) -> None:
    ran = subprocess.run(
        ["kubectl", "sweep", "get", NAME, "-o", "name"], env=operator.environment, capture_output=True, text=True, check=False,
        timeout=scaled(60),
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, f"sweepschedule.kubesweep.dev/{NAME}\n"), ran.stderr


def test_a_second_trigger_is_refused_while_a_sweep_runs_and_ctrl_c_leaves_the_sweep_alone(
    operator: User, app: ConversationsApp
) -> None:
    stale_again(app)
    app.slow_writes(0.2)
    try:
        with operator.started_on_terminal("trigger", NAME, "--wait") as (process, screen):
            screen.until("Running, ", 120)
            refused = operator.sweep("trigger", NAME)
            assert refused.code == 1
            assert "is not finished yet" in refused.err
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=scaled(30)) == 130
            screen.until("The sweep goes on.")
        running = operator.sweep("why", NAME)
        assert (running.code, "is sweeping since" in running.out) == (0, True), running.text
    finally:
        app.full_speed()
    app.until_completed(NAME)


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_schedule_is_suspended_and_resumed(operator: User, app: ConversationsApp, terminal: bool) -> None:
    suspended = run(operator, terminal, "suspend", NAME)
    assert (suspended.code, "is suspended: no tick fires" in suspended.out) == (0, True), suspended.text
    app.until_condition(NAME, "Suspended", "True")
    assert "Suspended" in operator.sweep("get", NAME).out
    assert "was suspended already" in operator.sweep("suspend", NAME).out
    refused = run(operator, terminal, "trigger", NAME)
    assert (refused.code, "the schedule is suspended" in refused.text) == (1, True)
    assert run(operator, terminal, "resume", NAME).code == 0
    app.until_condition(NAME, "Suspended", "False")


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_rate_is_set_and_reset(operator: User, app: ConversationsApp, terminal: bool) -> None:
    paused = run(operator, terminal, "throttle", NAME, "pause")
    assert (paused.code, "no row is started" in paused.out) == (0, True), paused.text
    assert app.status(NAME)["throttle"]["value"] == "pause"
    assert "is paused since" in operator.sweep("why", NAME).out
    assert run(operator, terminal, "throttle", NAME, "reset").code == 0
    assert "throttle" not in app.status(NAME)


@pytest.fixture(scope="module")
def guarded(app: ConversationsApp) -> str:
    name = "guarded"
    app.apply(app.plain_schedule(name, limits={"approveAbove": {"rows": 10}}))
    app.until_condition(name, "Ready", "True")
    return name


def test_a_sweep_is_shown_before_it_is_approved(
    operator: User, viewer: User, app: ConversationsApp, guarded: str
) -> None:
    stale_again(app)
    waits = operator.sweep("trigger", guarded, "--wait")
    assert (waits.code, "AwaitingApproval" in waits.out) == (1, True), waits.text
    unasked = operator.sweep("approve", guarded)
    assert (unasked.code, "no terminal to ask on" in unasked.err, "--yes" in unasked.err) == (2, True, True)
    for words in ("such as", "AboveApprovalLimit", "conversations", "sets status to expired"):
        assert words in unasked.out
    declined = operator.sweep_on_terminal("approve", guarded, typed="n\n")
    assert (declined.code, "Approve this sweep?" in declined.out, "Nothing was changed" in declined.out) == (
        1,
        True,
        True,
    )
    refused = viewer.sweep("approve", guarded, "--yes")
    assert (refused.code, "the right to patch sweepschedules" in refused.err) == (1, True)
    assert app.status(guarded)["lastSweep"]["state"] == "AwaitingApproval"
    approved = operator.sweep_on_terminal("approve", guarded, typed="y\n")
    assert (approved.code, "continues with its original cutoff" in approved.out) == (0, True), approved.text
    assert app.until_completed(guarded)["applied"] == EXPIRED_ROWS
    nothing = operator.sweep("approve", guarded, "--yes")
    assert (nothing.code, "Its latest sweep is Completed." in nothing.err) == (1, True)


def test_a_watch_prints_each_change(operator: User, app: ConversationsApp) -> None:
    with operator.started_on_terminal("get", NAME, "-w") as (process, screen):
        screen.until(NAME)
        operator.sweep("suspend", NAME)
        screen.until("Suspended")
        operator.sweep("resume", NAME)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=scaled(30)) == 130


def test_a_wrong_name_and_a_wrong_context_say_what_there_is(operator: User) -> None:
    wrong = operator.sweep("status", "tydi")
    assert (wrong.code, "Did you mean tidy?" in wrong.err) == (2, True)
    lost = operator.sweep("get", "--context", "nowhere")
    assert (lost.code, "There is no context nowhere" in lost.err) == (2, True)


def test_a_thousand_schedules_are_listed_page_by_page(namespace: Namespace) -> None:
    """Nobody serves them, so they are Unobserved. docs/kubectl.md has how long a list takes."""
    cluster = connect(ClusterOptions(kubeconfig=os.environ["KUBECONFIG"]))
    bodies = [schedule(f"s{number:04}", namespace.name) for number in range(MANY)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: cluster.create(SCHEDULES, body), bodies))
    admin = User(Path(os.environ["KUBECONFIG"]))
    listed = admin.sweep("get", "-A")
    lines = [line.split() for line in listed.out.splitlines()[1:]]
    mine = [line for line in lines if line[0] == namespace.name]
    assert (listed.code, len(mine)) == (0, MANY), listed.err
    assert {line[2] for line in mine} == {"Unobserved"}
    cause = admin.sweep("why", "s0000", "-n", namespace.name)
    assert (cause.code, "No controller has seen" in cause.out) == (1, True)
