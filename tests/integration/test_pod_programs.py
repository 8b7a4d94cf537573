"""``kubesweep-worker dead`` and ``check``: what a person runs in a pod, with its environment, Secrets and credentials."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kubesweep.api.plan import Effect, Webhook
from kubesweep.check_document import CheckDocument, CheckResult, parse_document
from kubesweep.queue.model import FailedRow, Job, JobKind, Limits, Retry, Settlement, Window
from kubesweep_controller.queue.users import POD_RULES
from tests.integration.pod import PROGRAM, ROWS, Pod, make_carts, pod_plan, statuses
from tests.kits.deadlines import scaled
from tests.kits.servers import Server

PRINTS = """
print("imported")

async def note(row, ctx):
    print("called")
"""
EVIL = "refused \x1b[2J\u202e by the receiver"


@pytest.fixture
async def make_pod(tmp_path: Path, server: Server) -> AsyncIterator[Callable[..., Pod]]:
    made: list[Pod] = []

    def make(**changes: Any) -> Pod:
        made.append(Pod(tmp_path / "pod", server, pod_plan(**changes)))
        return made[-1]

    yield make
    for pod in made:
        await pod.close()


async def fail_rows(pod: Pod) -> None:
    """A sweep of which two rows are dead letters and one waits for another attempt."""
    limits = Limits()
    await pod.open()
    (plan,) = (await pod.queue.claim(pod.plan.ref, "ann", 1, limits)).jobs
    job = Job(JobKind.RANGE, plan.job.plan, plan.job.sweep, "now", low=("0",), high=("9",), rows=3)
    assert await pod.queue.advance(pod.plan.ref, plan, Window("now", (job,), planned=3))
    (claim,) = (await pod.queue.claim(pod.plan.ref, "ann", 1, limits)).jobs
    dead = FailedRow(("42",), "Http500", EVIL), FailedRow(("eu", "17"), "Http422", "invalid")
    again = Retry((FailedRow(("7",), "Http503", "busy"),), 2, 600.0)
    await pod.queue.settle(pod.plan.ref, "ann", [Settlement(claim, dead=dead, retry=(again,))], 0, limits)


def completed(pod: Pod, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**pod.environment, **environment}
    return subprocess.run(
        command, cwd=pod.folder, env=variables, capture_output=True, text=True, timeout=scaled(60), check=False
    )


def run(pod: Pod, *words: str, code: int = 0, **environment: str) -> str:
    """The standard output of the program in the pod."""
    done = completed(pod, [PROGRAM, *words], **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def letters(pod: Pod, *words: str, code: int = 0, **environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(pod, "dead", *words, code=code, **environment))
    return found


async def test_dead_letters_are_one_document_with_their_attempts(make_pod: Any) -> None:
    pod = make_pod()
    await fail_rows(pod)
    found = letters(pod)
    ref = pod.plan.ref
    assert found["schedule"] == {"namespace": "shop", "name": "carts", "uid": ref.uid}
    assert found["total"] == 2
    by_key = {each["key"]: each for each in found["letters"]}
    assert by_key.keys() == {"42", '["eu","17"]'}
    letter = by_key["42"]
    assert (letter["error"], letter["message"], letter["retrying"]) == ("Http500", EVIL, False)
    ((attempt,), (kept,)) = letter["attempts"], [each for each in await pod.dead() if each.key == ("42",)]
    assert (attempt["error"], attempt["message"]) == ("Http500", EVIL)
    assert attempt["time"] == letter["firstTime"] == letter["lastTime"]
    assert letter["sweep"] == kept.sweep
    assert not {"\x1b", "\u202e"} & set(run(pod, "dead")), "a terminal may show the document"


@pytest.mark.parametrize(
    ("words", "keys", "total"),
    [
        (["--error", "Http500"], ["42"], 1),
        (["--key", "42", "--key", '["eu","17"]'], ["42", '["eu","17"]'], 2),
        (['--key=["eu","17"]', "--error=Http422"], ['["eu","17"]'], 1),
        (["--retrying"], ["7"], 1),
        (["--retrying", "--error", "Http503"], ["7"], 1),
        (["--most", "1"], None, 2),
        (["--key", "42", "--error", "Http422"], [], 0),
        (["--error", "Http"], [], 0),
        (["--key", "7"], [], 0),
    ],
)
async def test_a_filter_selects_letters_and_an_empty_answer_is_exit_code_1(
    make_pod: Any, words: list[str], keys: list[str] | None, total: int
) -> None:
    pod = make_pod()
    await fail_rows(pod)
    found = letters(pod, *words, code=0 if total else 1)
    assert found["total"] == total
    if keys is None:
        assert len(found["letters"]) == 1
    else:
        assert sorted(each["key"] for each in found["letters"]) == keys
    assert all(each["retrying"] == ("--retrying" in words) for each in found["letters"])


async def test_the_credentials_of_a_namespaces_pods_are_enough_to_read_and_change_nothing(
    make_pod: Any, server: Server
) -> None:
    pod = make_pod()
    await fail_rows(pod)
    own = "{ks:local/shop/*"
    with server.client() as client:
        rules = ["resetkeys", f"~{own}", f"%R~control:{own}", *POD_RULES.split()]
        client.execute_command("ACL", "SETUSER", "pods", "on", ">secret", *rules)
    queue = f"redis://pods:secret@127.0.0.1:{server.port}/0"
    before = await pod.stats()
    for words in ([], ["--retrying"], ["--error", "Http500"], ["--key", "42"]):
        assert letters(pod, *words, KUBESWEEP_QUEUE=queue)["total"] >= 1
    assert await pod.stats() == before


async def test_a_schedule_without_dead_letters_has_an_empty_document(make_pod: Any) -> None:
    pod = make_pod()
    assert (letters(pod, code=1)["total"], letters(pod, code=1)["letters"]) == (0, [])


async def test_without_the_queue_nothing_is_printed_and_the_code_is_3(make_pod: Any, server: Server) -> None:
    pod = make_pod()
    assert run(pod, "dead", code=3, KUBESWEEP_QUEUE="redis://127.0.0.1:1/0") == ""


@pytest.mark.parametrize("words", [["dead", "--most", "0"], ["dead", "--most", "x"], ["dead", "--erorr", "x"], ["check", "-o", "xml"], []])  # fmt: skip
async def test_wrong_words_are_exit_code_2(make_pod: Any, words: list[str]) -> None:
    assert run(make_pod(), *words, code=2) == ""


@pytest.mark.parametrize("command", ["dead", "check"])
async def test_an_unusable_environment_is_exit_code_2(make_pod: Any, command: str) -> None:
    pod = make_pod()
    assert run(pod, command, code=2, KUBESWEEP_PLAN="{}") == ""


async def test_a_reader_that_is_gone_ends_the_program_quietly(make_pod: Any) -> None:
    pod = make_pod()
    await fail_rows(pod)
    script = f"set -o pipefail; {PROGRAM} dead | true; {PROGRAM} dead >&-; {PROGRAM} dead >/dev/full"
    assert completed(pod, ["bash", "-c", script]).stderr == ""


# check


def report(pod: Pod, *words: str, code: int = 0, **environment: str) -> CheckDocument:
    document = parse_document(run(pod, "check", "-o", "json", *words, code=code, **environment))
    assert document is not None
    return document


async def test_a_check_in_a_pod_reports_what_the_worker_would_find(make_pod: Any, database: str) -> None:
    make_carts(database)
    pod = make_pod()
    pod.database.show(url=database)
    found = report(pod, "--try-write")
    assert (found.namespace, found.name, found.mode, found.plan) == ("shop", "carts", "Enforce", pod.plan.version.hash)
    assert found.table is not None
    assert found.stale is not None
    assert (found.table.key, found.stale.rows, found.stale.sample_keys) == (("id",), ROWS, ("1", "2", "3", "4", "5"))
    assert found.tried is not None
    assert (found.tried.rows, found.tried.would_apply) == (10, 10)
    assert found.statements is not None
    assert "UPDATE" in str(found.statements.write)
    assert (found.next_ticks, found.suspended) == (None, None), "the plan has no ticks"
    assert found.result is CheckResult.PASSED
    assert statuses(database) == {"old": ROWS}
    assert not (await pod.stats()).known, "the queue is not used"


async def test_the_report_as_text_is_that_of_the_command_line(make_pod: Any, database: str) -> None:
    make_carts(database)
    pod = make_pod()
    pod.database.show(url=database)
    text = run(pod, "check", "--try-write")
    assert text.startswith("carts  Enforce\n")
    assert f"  stale now  {ROWS} rows, such as 1, 2, 3, 4, 5\n" in text
    assert "10 rows written and rolled back: these rows stop matching" in text
    assert text.endswith("  result  no problem found\n")
    assert "UPDATE" not in text
    assert "UPDATE" in run(pod, "check", "--sql")


async def test_a_warning_is_exit_code_1(make_pod: Any, database: str) -> None:
    make_carts(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER loud BEFORE UPDATE ON carts FOR EACH ROW EXECUTE FUNCTION f()"
        )
    pod = make_pod()
    pod.database.show(url=database)
    found = report(pod, code=1)
    assert found.result is CheckResult.WARNINGS
    assert any("loud" in each.message for each in found.warnings)
    tried = report(pod, "--try-write", code=1)
    assert tried.result is CheckResult.FAILED
    assert [each.code for each in tried.warnings][-1] == "WriteRefused"


async def test_what_only_an_edit_fixes_is_exit_code_2_and_names_the_code(make_pod: Any, database: str) -> None:
    pod = make_pod()
    pod.database.show(url=database)
    found = report(pod, code=2)
    assert found.error is not None
    assert (found.result, found.error.reason) == (CheckResult.INVALID, "TableMissing")
    assert "result  TableMissing: " in run(pod, "check", code=2)


@pytest.mark.parametrize(
    ("url", "code"),
    [("", 3), ("postgresql://root:hunter2@127.0.0.1:1/shop", 3), ("mysql://root:hunter2@db/shop", 2)],
)
async def test_an_unreachable_database_is_exit_code_3_a_wrong_url_2_and_neither_shows_a_password(
    make_pod: Any, url: str, code: int
) -> None:
    pod = make_pod()
    pod.database.show(**({"url": url} if url else {}))
    printed = run(pod, "check", "-o", "json", code=code)
    document = parse_document(printed)
    assert document is not None
    assert document.error is not None
    assert document.error.reason in ("UrlMissing", "Unreachable", "UrlInvalid")
    assert "support-db" in document.error.message
    assert "hunter2" not in printed


async def test_a_handler_that_prints_when_it_is_imported_does_not_damage_the_document(
    make_pod: Any, database: str
) -> None:
    make_carts(database)
    pod = make_pod(effect=Effect(columns=("id",), handler="shop_prints:note"))
    (pod.folder / "shop_prints.py").write_text(PRINTS)
    pod.database.show(url=database)
    found = report(pod, code=1)
    assert [each.code for each in found.warnings] == ["idempotency-key"]
    assert found.effect is not None
    assert found.effect.handler == "shop_prints:note"
    missing = make_missing(pod)
    assert missing.error is not None
    assert (missing.result, missing.error.reason) == (CheckResult.INVALID, "HandlerNotImportable")


def make_missing(pod: Pod) -> CheckDocument:
    """The same check in an image without the handler."""
    (pod.folder / "shop_prints.py").unlink()
    return report(pod, code=2)


async def test_a_missing_secret_of_the_webhook_is_exit_code_3(make_pod: Any, database: str) -> None:
    make_carts(database)
    hook = Webhook("http://127.0.0.1:1/", headers_secret="hook-headers")
    pod = make_pod(effect=Effect(columns=("id",), webhook=hook))
    pod.database.show(url=database)
    found = report(pod, code=3)
    assert found.error is not None
    assert found.error.reason == "HeadersMissing"
