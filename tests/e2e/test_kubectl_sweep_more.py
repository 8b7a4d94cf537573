"""``kubectl sweep dead``, ``check``, ``logs``, ``report`` and ``dashboard`` with the chart's Roles, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
import yaml

from kubectl_sweep.pods.job_body import OWN_LABEL
from tests.kits.cluster_users import Ran, User, create_user
from tests.kits.conversations_app import ConversationsApp, config_map, conversations_app
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object
from tests.kits.three_schedules import handler_mount

ROWS = 100
EXPIRED_ROWS = ROWS // 5  # fewer than a flood
NAME, FAILING = "tidy", "failing"
HANDLER = """
from kubesweep_worker.handlers import Reject

async def remind(row, ctx):
    if int(row["id"]) % 2:
        raise Reject("the address bounces")
    raise LookupError("no such customer")
"""


@pytest.fixture(scope="module")
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    """A release with a schedule that works, and one that has dead letters of two errors and a worker that stays."""
    with conversations_app(cluster, "kubectl-more", ROWS) as made:
        made.apply(made.secret(), config_map("handlers", {"reminders.py": HANDLER}))
        made.apply(made.plain_schedule(NAME), failing(made))
        for name in (NAME, FAILING):
            made.until_condition(name, "Ready", "True", patience=180)
        made.annotate(FAILING, "trigger", "first")
        made.until_status(FAILING, dead_letters, "all rows are dead letters", patience=180)
        yield made


def failing(app: ConversationsApp) -> Object:
    made = app.plain_schedule(FAILING, retry={"maxAttempts": 1})
    made["spec"]["effect"] = {"columns": ["id"], "handler": "reminders:remind"}
    made["spec"]["worker"] |= {"minReplicas": 1, "maxReplicas": 1, **handler_mount()}
    return made


def dead_letters(status: Object) -> bool:
    return bool(sum(each["count"] for each in status.get("errors") or ()) == EXPIRED_ROWS)


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


both_outputs = pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])


def run(user: User, terminal: bool, *words: str) -> Ran:
    return user.sweep_on_terminal(*words) if terminal else user.sweep(*words)


def until_no_jobs(app: ConversationsApp) -> None:
    """Every short Job is deleted."""
    app.namespace.until_all("batch/v1 Job", OWN_LABEL, lambda found: not found, what="no short Job is left")


@both_outputs
def test_both_roles_list_dead_letters_by_error(user: User, terminal: bool) -> None:
    listed = run(user, terminal, "dead", "list", FAILING)
    assert listed.code == 0, listed.text
    assert "Rejected" in listed.out
    assert "LookupError" in listed.out
    assert f"kubectl sweep dead show {FAILING}" in listed.out
    nothing = run(user, terminal, "dead", "list", NAME)
    assert (nothing.code, nothing.out.strip()) == (0, f"No dead letters of {NAME}.")


def test_the_list_is_a_document_for_programs(viewer: User) -> None:
    (item,) = json.loads(viewer.sweep("dead", "list", "-o", "json").out)["items"]
    assert (item["name"], item["dead"]) == (FAILING, EXPIRED_ROWS)
    assert {each["error"] for each in item["errors"]} == {"Rejected", "LookupError"}


@both_outputs
def test_an_operator_reads_dead_letters_beside_a_worker(operator: User, terminal: bool) -> None:
    shown = run(operator, terminal, "dead", "show", FAILING, "--error", "Rejected", "--most", "3")
    assert shown.code == 0, shown.text
    assert shown.out.count("the address bounces") >= 3
    assert "LookupError" not in shown.out
    assert "short Job" not in shown.text
    none = run(operator, terminal, "dead", "show", FAILING, "--key", "no-such-row")
    assert (none.code, "has no dead letters that match --key no-such-row" in none.text) == (1, True)


@both_outputs
@pytest.mark.parametrize(
    ("words", "right"),
    [
        (("dead", "show", FAILING), "create pods/exec"),
        (("dead", "retry", FAILING, "--all", "--yes"), "patch sweepschedules"),
        (("dead", "purge", FAILING, "--error", "Rejected", "--yes"), "patch sweepschedules"),
        (("check", NAME), "create jobs"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_a_viewer_is_refused_and_learns_which_right_is_missing(
    viewer: User, app: ConversationsApp, words: tuple[str, ...], right: str, terminal: bool
) -> None:
    refused = run(viewer, terminal, *words)
    assert refused.code == 1
    assert f"You need the right to {right} in namespace {app.namespace.name}" in refused.text
    assert dead_letters(app.status(FAILING))


def test_nothing_is_changed_without_a_choice_a_dry_run_or_a_yes(operator: User, app: ConversationsApp) -> None:
    unchosen = operator.sweep("dead", "purge", FAILING, "--yes")
    assert (unchosen.code, "Choose the rows" in unchosen.err) == (2, True)
    dry = operator.sweep("dead", "purge", FAILING, "--error", "Rejected", "--dry-run")
    assert (dry.code, f"{EXPIRED_ROWS // 2} rows of {app.namespace.name}/{FAILING}" in dry.out) == (0, True), dry.text
    unasked = operator.sweep("dead", "purge", FAILING, "--all")
    assert (unasked.code, "no terminal to ask on" in unasked.err) == (2, True)
    declined = operator.sweep_on_terminal("dead", "purge", FAILING, "--all", typed="n\n")
    assert (declined.code, "Nothing was changed." in declined.out) == (1, True), declined.out
    none = operator.sweep("dead", "retry", FAILING, "--error", "NoSuchError", "--yes")
    assert (none.code, "has no dead letters that match --error NoSuchError" in none.err) == (1, True)
    assert dead_letters(app.status(FAILING))


def test_rows_are_retried_by_error_and_by_key(operator: User, app: ConversationsApp) -> None:
    retried = operator.sweep_on_terminal("dead", "retry", FAILING, "--error", "LookupError", typed="y\n")
    assert (retried.code, f"{EXPIRED_ROWS // 2} rows will be tried again" in retried.out) == (0, True), retried.out
    app.until_status(FAILING, dead_letters, "they are dead letters again")
    (group, *_) = [each for each in app.status(FAILING)["errors"] if each["error"] == "Rejected"]
    (key,) = json.loads(group["sampleKeys"][0])
    one = operator.sweep("dead", "retry", FAILING, "--key", key, "--yes")
    assert (one.code, "1 row will be tried again" in one.out) == (0, True), one.text
    app.until_status(FAILING, dead_letters, "it is a dead letter again")


@both_outputs
def test_a_schedule_is_checked_by_a_short_job(operator: User, app: ConversationsApp, terminal: bool) -> None:
    checked = run(operator, terminal, "check", NAME, "--sql")
    assert checked.code in (0, 1), checked.text
    for words in ("conversations", "stale now", "next ticks", "finds the next rows", "result"):
        assert words in checked.out
    until_no_jobs(app)
    document = json.loads(operator.sweep("check", NAME, "-o", "json").out)
    assert (document["kind"], document["name"], len(document["nextTicks"])) == ("CheckReport", NAME, 3)
    until_no_jobs(app)


def test_ctrl_c_deletes_the_short_job(operator: User, app: ConversationsApp) -> None:
    with operator.started_on_terminal("check", NAME) as (process, _screen):
        app.namespace.until_all("batch/v1 Job", OWN_LABEL, bool, what="the short Job exists")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=scaled(60)) == 130
    until_no_jobs(app)


def test_a_pod_that_cannot_start_is_explained(operator: User, app: ConversationsApp) -> None:
    body = app.plain_schedule("imageless")
    body["spec"]["worker"] |= {"image": "registry.invalid/nothing:1"}
    app.apply(body)
    app.namespace.until("apps/v1 Deployment", "imageless-worker", bool, what="the Deployment exists")
    checked = operator.sweep("check", "imageless")
    assert (checked.code, "the image registry.invalid/nothing:1 cannot be pulled" in checked.err) == (3, True), (
        checked.text
    )
    until_no_jobs(app)
    app.delete("imageless")


def test_a_file_is_validated_by_the_api_server(
    operator: User, viewer: User, app: ConversationsApp, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(app.plain_schedule(NAME)))
    accepted = operator.sweep("check", "-f", str(file))
    assert (accepted.code, "the API server accepts it" in accepted.out) == (0, True), accepted.text
    assert "Its table and effect are not checked" in accepted.err
    refused = viewer.sweep("check", "-f", str(file))
    assert (refused.code, "the right to patch sweepschedules" in refused.err) == (1, True)
    wrong = app.plain_schedule(NAME)
    wrong["spec"]["tabel"] = "x"
    file.write_text(yaml.safe_dump(wrong))
    invalid = operator.sweep("check", "-f", str(file))
    assert (invalid.code, f"{file}:" in invalid.err, "spec.tabel" in invalid.err) == (2, True, True), invalid.text


@both_outputs
def test_both_roles_read_logs(user: User, terminal: bool) -> None:
    read = run(user, terminal, "logs", FAILING)
    assert read.code == 0, read.text
    line = read.out.splitlines()[0]
    assert line.startswith(f"{FAILING}-worker-") or terminal
    assert ('"message"' in read.out) is not terminal
    (record, *_) = map(json.loads, user.sweep("logs", FAILING, "--no-ticks", "-o", "json").out.splitlines())
    assert record["pod"].startswith(f"{FAILING}-worker-")


def test_following_shows_the_pods_that_start_later(operator: User, app: ConversationsApp) -> None:
    app.until_no_workers(NAME)
    with operator.started_on_terminal("logs", NAME, "-f") as (process, screen):
        assert operator.sweep("trigger", NAME).code == 0
        screen.until(f"{NAME}-worker-", 120)
        screen.until(" info ", 60)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=scaled(30)) == 130


@both_outputs
def test_both_roles_make_a_report_without_secrets(
    user: User, app: ConversationsApp, tmp_path: Path, terminal: bool
) -> None:
    file = tmp_path / "report.zip"
    ran = run(user, terminal, "report", FAILING, "-o", str(file))
    assert ran.code == 0, ran.text
    assert "Nothing was sent" in ran.out
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as opened:
        files = {name: opened.read(name).decode() for name in opened.namelist()}
    place = f"schedules/{app.namespace.name}/{FAILING}"
    for name in ("sweepschedule", "deployments", "pods", "events"):
        assert f"{place}/{name}.json" in files
    assert [name for name in files if name.startswith(f"{place}/logs/")]
    assert [name for name in files if name.startswith("controller/") and name.endswith(".log")]
    assert "cause: " in files[f"{place}/why.txt"]
    whole = "".join(files.values())
    password = re.search(r"://[^:]+:([^@]+)@", app.database_url())
    assert password is not None
    assert password[1] not in whole
    assert app.release.password() not in whole
    assert_no_keys(json.loads(files[f"{place}/sweepschedule.json"]), json.loads(files[f"{place}/events.json"]))
    assert "the CRD: You need the right to get customresourcedefinitions" in files["README.txt"]
    assert user.sweep("report", FAILING, "-o", str(file)).code == 2, "it is not overwritten"


def assert_no_keys(schedule: Object, events: list[Object]) -> None:
    groups = schedule["status"]["errors"]
    assert {each["error"] for each in groups} == {"Rejected", "LookupError"}
    assert [set(each["sampleKeys"]) for each in groups] == [{"***"}] * len(groups)
    notes = [each["note"] for each in events if each["reason"] == "DeadLetters"]
    assert notes
    assert [each for each in notes if "(such as ***)" not in each] == []


def test_both_roles_serve_the_console_for_themselves(user: User, app: ConversationsApp) -> None:
    with user.started_on_terminal("dashboard", "--port", "0") as (process, screen):
        screen.until("Ctrl-C ends")
        (link,) = re.findall(r"http://127\.0\.0\.1:\d+/\?key=[\w-]+", screen.text)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(link.partition("?")[0], timeout=60)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with browser.open(link, timeout=60) as fleet:
            assert FAILING in fleet.read().decode()
        with browser.open(f"{link.partition('?')[0]}schedules/{app.namespace.name}/{NAME}/trigger", timeout=60) as page:
            text = page.read().decode()
        assert f"kubectl sweep trigger {NAME} -n {app.namespace.name}" in text
        assert "<form method" not in text
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=scaled(30)) == 0


def test_dead_letters_are_read_and_purged_where_no_worker_runs(operator: User, app: ConversationsApp) -> None:
    """Last, because it leaves no dead letters."""
    app.namespace.kubectl(
        "patch", "sweepschedule", FAILING, "--type=merge", "-p", '{"spec":{"worker":{"minReplicas":0}}}'
    )
    app.until_no_workers(FAILING)
    shown = operator.sweep("dead", "show", FAILING, "-o", "json")
    assert shown.code == 0, shown.text
    assert "starting a short Job" in shown.err
    document = json.loads(shown.out)
    assert (document["schedule"]["name"], document["total"]) == (FAILING, EXPIRED_ROWS)
    until_no_jobs(app)
    purged = operator.sweep("dead", "purge", FAILING, "--all", "--yes")
    assert (purged.code, f"{EXPIRED_ROWS} rows purged" in purged.out) == (0, True), purged.text
    app.until_status(FAILING, lambda status: not status.get("errors"), "no dead letter is left")
    nothing = operator.sweep("dead", "purge", FAILING, "--all", "--yes")
    assert nothing.code == 1
