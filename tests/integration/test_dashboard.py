"""The console on a real queue: what it shows of each state, and what its actions do."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesweep.errors import SpecError
from kubesweep.listen_address import LOOPBACK, parse_address
from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef, SweepRequest, SweepState
from kubesweep.queue.redis.queue import RedisQueue
from kubesweep_cli.dashboard.actions import QueueActions
from kubesweep_cli.dashboard.provider import QueueProvider
from kubesweep_cli.shell.suspending import set_suspended, suspended
from kubesweep_console.documents import Schedule
from kubesweep_console.provider import Action, ActionKind, ActionRefused, Document
from kubesweep_console.serving import serving
from kubesweep_console.views.state import state_of
from tests.integration.one_row import KINDS
from tools.console_scene import Scene


class Console:
    """The scene as the console sees it: provider and actions on another connection."""

    def __init__(self, scene: Scene, *, files: bool = True) -> None:
        self.scene, self.queue = scene, connect(scene.url)
        self.provider = QueueProvider(self.queue, scene.url, None, list(scene.loaded.values()) if files else ())
        self.actions = QueueActions(self.queue, self.provider)

    async def document(self, name: str) -> Document:
        (found,) = [each for each in (await self.provider.snapshot()).documents if each["metadata"]["name"] == name]
        return found

    async def action(self, kind: ActionKind, name: str, **fields: str) -> Action:
        return Action(kind, await self.document(name), **fields)

    async def sweep(self, name: str) -> Any:
        (stats,) = await self.queue.stats([self.scene.loaded[name].ref])
        return stats.sweep


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    made = Console(await Scene.made(tmp_path, time.time()))
    yield made
    await made.queue.close()


async def test_each_schedule_has_the_state_of_its_queue(console: Console) -> None:
    found = {
        each["metadata"]["name"]: state_of(Schedule(each)) for each in (await console.provider.snapshot()).documents
    }
    assert {name: state.label for name, state in found.items()} == {
        "close-abandoned-carts": "Completed",
        "expire-sessions": "Running 39 %",
        "delete-old-logs": "Falling behind",
        "archive-invoices": "Awaits approval",
        "notify-overdue": "Dead letters",
        "purge-tickets": "Failed",
        "anonymize-users": "Suspended",
    }
    assert "TableMissing: table public.tickets: it does not exist" in found["purge-tickets"].why


async def test_a_document_has_the_spec_the_throttle_and_an_address_without_a_password(console: Console) -> None:
    found = await console.document("expire-sessions")
    assert found["spec"]["every"] == "10m"
    assert found["spec"]["source"]["table"] == "sessions"
    assert found["database"] == "postgresql://sweeper@shop-db/shop"
    assert found["status"]["throttle"] | {"message": ""} == {
        "reason": "ReplayLag",
        "percent": 50,
        "value": "1.2 s",
        "limit": "2 s",
        "message": "",
    }
    paused = await console.document("anonymize-users")
    assert (paused["status"]["throttle"]["reason"], paused["status"]["throttle"]["value"]) == ("Throttle", "pause")


async def test_without_files_the_queue_alone_is_shown(console: Console) -> None:
    bare = Console(console.scene, files=False)
    found = await bare.document("notify-overdue")
    assert ("spec" in found, "database" in found, found["status"]["queue"]["dead"]) == (False, False, 10)
    assert (await bare.actions.preview(Action(ActionKind.TRIGGER, found))).sentence.startswith("A sweep starts now.")
    await bare.queue.close()


async def test_dead_letters_have_their_attempts(console: Console) -> None:
    found = await console.provider.dead_letters(await console.document("notify-overdue"))
    assert [(group.error, group.count) for group in found.groups] == [("Status404", 7), ("Timeout", 3)]
    assert [len(letter.attempts) for letter in found.letters] == [2] * 6


async def test_a_triggered_sweep_is_opened_once_for_a_form(console: Console) -> None:
    action = await console.action(ActionKind.TRIGGER, "close-abandoned-carts")
    preview = await console.actions.preview(action)
    assert (preview.sentence, preview.rows) == ("A sweep starts now. It sweeps every row that is stale then.", None)
    answer = await console.actions.act(action, "nonce")
    sweep = await console.sweep("close-abandoned-carts")
    assert (sweep.state, sweep.id in answer) == (SweepState.PLANNING, True)
    with pytest.raises(ActionRefused, match="not finished yet"):
        await console.actions.preview(action)
    await console.actions.act(action, "nonce")
    assert (await console.sweep("close-abandoned-carts")).id == sweep.id
    with pytest.raises(ActionRefused, match="not finished yet"):
        await console.actions.act(action, "another")


async def test_a_trigger_says_how_many_rows_the_last_sweep_left(console: Console) -> None:
    found = dict(await console.document("delete-old-logs"))
    found["status"] = {**found["status"], "backlog": {"rows": 12_000}}
    preview = await console.actions.preview(Action(ActionKind.TRIGGER, found))
    assert preview.rows == 12_000
    assert "stale then, about 12,000 rows as the last sweep left them." in preview.sentence


async def test_an_approval_is_of_the_sweep_that_was_shown(console: Console) -> None:
    waiting = await console.sweep("archive-invoices")
    with pytest.raises(ActionRefused, match="No sweep awaits"):
        await console.actions.preview(await console.action(ActionKind.APPROVE, "archive-invoices", sweep="another"))
    action = await console.action(ActionKind.APPROVE, "archive-invoices", sweep=waiting.id)
    assert "continues with the same cutoff, and sweeps 41,200 rows." in (await console.actions.preview(action)).sentence
    assert await console.actions.act(action, "nonce") == "The sweep continues, with the same cutoff."
    assert (await console.sweep("archive-invoices")).state is SweepState.PLANNING
    with pytest.raises(ActionRefused, match="No sweep awaits"):
        await console.actions.act(action, "nonce")


async def test_pause_and_resume_are_those_of_the_throttle(console: Console) -> None:
    pause = await console.action(ActionKind.PAUSE, "expire-sessions")
    preview = await console.actions.preview(pause)
    assert "36,500 rows of the running sweep wait" in preview.sentence
    await console.actions.act(pause, "nonce")
    ref = console.scene.loaded["expire-sessions"].ref
    (stats,) = await console.queue.stats([ref])
    assert (stats.paused, stats.pace and stats.pace.throttle) == (True, "pause")
    resume = await console.action(ActionKind.RESUME, "expire-sessions")
    assert "36,500 rows of the running sweep continue" in (await console.actions.preview(resume)).sentence
    await console.actions.act(resume, "nonce")
    (stats,) = await console.queue.stats([ref])
    assert (stats.paused, stats.pace and stats.pace.throttle) == (False, "")


async def test_resume_ends_a_suspension_of_the_command_line(console: Console) -> None:
    ref = console.scene.loaded["expire-sessions"].ref
    await set_suspended(console.queue, ref, True)
    resume = await console.action(ActionKind.RESUME, "expire-sessions")
    (condition,) = (each for each in resume.document["status"]["conditions"] if each["type"] == "Suspended")
    assert (condition["status"], "no tick fires and no row is started" in condition["message"]) == ("True", True)
    assert "resume expire-sessions" in console.provider.command(resume)
    with pytest.raises(ActionRefused, match="resume it first"):
        await console.actions.preview(await console.action(ActionKind.TRIGGER, "expire-sessions"))
    assert (await console.actions.act(resume, "nonce")).startswith("It is resumed")
    (stats,) = await console.queue.stats([ref])
    assert (stats.paused, suspended(stats)) == (False, False)


async def test_a_sweep_that_plans_its_first_row_can_be_paused_and_resumed(console: Console) -> None:
    await console.actions.act(await console.action(ActionKind.TRIGGER, "anonymize-users"), "nonce")
    for kind in (ActionKind.PAUSE, ActionKind.RESUME):
        preview = await console.actions.preview(await console.action(kind, "anonymize-users"))
        assert ("0 rows of the running sweep" in preview.sentence, preview.rows) == (True, None)


async def test_a_trigger_says_why_its_sweep_would_not_start(console: Console) -> None:
    paused = await console.actions.preview(await console.action(ActionKind.TRIGGER, "anonymize-users"))
    assert "it is paused: no row is started until it is resumed" in paused.sentence
    carts = console.scene.loaded["close-abandoned-carts"]
    edited = carts.spec.model_copy(update={"spec": carts.spec.spec.model_copy(update={"suspend": True})})
    console.provider.loaded[carts.ref] = dataclasses.replace(carts, spec=edited)
    suspended = await console.actions.preview(await console.action(ActionKind.TRIGGER, "close-abandoned-carts"))
    assert "its file suspends it" in suspended.sentence


async def test_a_page_may_be_about_a_schedule_that_has_gone_meanwhile(console: Console, tmp_path: Path) -> None:
    """Another page reads the queue between the question and the answer."""
    bare = Console(console.scene, files=False)
    action = await bare.action(ActionKind.RETRY, "notify-overdue")
    await bare.queue.forget(console.scene.loaded["notify-overdue"].ref)
    assert "notify-overdue" not in str((await bare.provider.snapshot()).documents)
    assert "dead retry notify-overdue" in bare.provider.command(action)
    assert (await bare.actions.preview(action)).rows == 0
    await bare.queue.close()


@pytest.mark.parametrize(("error", "rows"), [("", 10), ("Timeout", 3)])
async def test_a_retry_is_of_these_rows(console: Console, error: str, rows: int) -> None:
    action = await console.action(ActionKind.RETRY, "notify-overdue", error=error)
    preview = await console.actions.preview(action)
    assert (preview.rows, f"{rows} dead letters" in preview.sentence) == (rows, True)
    assert (await console.actions.act(action, "nonce")).startswith(f"{rows} rows will be tried again")
    assert (await console.document("notify-overdue"))["status"]["queue"]["dead"] == 10 - rows


@pytest.mark.parametrize(("error", "rows"), [("", 10), ("Status404", 7)])
async def test_a_purge_is_of_these_rows(console: Console, error: str, rows: int) -> None:
    action = await console.action(ActionKind.PURGE, "notify-overdue", error=error)
    preview = await console.actions.preview(action)
    assert (preview.rows, "repeats their effect" in preview.sentence) == (rows, True)
    assert (await console.actions.act(action, "nonce")).startswith(f"{rows} rows purged")
    assert (await console.document("notify-overdue"))["status"]["queue"]["dead"] == 10 - rows


async def test_rows_in_retry_are_counted_beside_the_dead_letters(console: Console) -> None:
    preview = await console.actions.preview(await console.action(ActionKind.RETRY, "expire-sessions"))
    assert (preview.rows, "0 dead letters and 12 rows in retry" in preview.sentence) == (12, True)


async def test_a_schedule_of_a_cluster_is_paused_by_its_annotation(console: Console) -> None:
    ref = ScheduleRef("inst0001", "shop", "clustered", "8b5f6f0e")
    await console.queue.open_sweep(
        ref, SweepRequest(tick=1.0, plan=console.scene.loaded["expire-sessions"].plan.version)
    )
    action = await console.action(ActionKind.PAUSE, "clustered")
    with pytest.raises(ActionRefused, match="belongs to a controller"):
        await console.actions.preview(action)
    with pytest.raises(ActionRefused, match="belongs to a controller"):
        await console.actions.act(action, "nonce")
    assert console.provider.command(action).endswith("--overwrite kubesweep.dev/throttle=pause")


async def test_the_commands_are_those_of_the_command_line(console: Console) -> None:
    retry = await console.action(ActionKind.RETRY, "notify-overdue", error="it's $5")
    assert console.provider.command(retry).endswith("dead retry notify-overdue -n billing --error 'it'\"'\"'s $5'")
    trigger = await console.action(ActionKind.TRIGGER, "notify-overdue")
    assert re.fullmatch(r".*kubesweep\S* trigger notify-overdue -n billing", console.provider.command(trigger))


@KINDS
async def test_a_queue_on_a_server_is_shown_too(emptied: RedisQueue, console: Console) -> None:
    one = console.scene.loaded["notify-overdue"]
    await emptied.open_sweep(one.ref, SweepRequest(tick=time.time(), plan=one.plan.version))
    provider = QueueProvider(emptied, "redis://queue", None, [one])
    (found,) = (await provider.snapshot()).documents
    assert state_of(Schedule(found)).label == "Planning"
    assert (await provider.dead_letters(found)).groups == ()


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("8720", "127.0.0.1", 8720, True),
        (":8720", "127.0.0.1", 8720, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8720", "::1", 8720, True),
        ("0.0.0.0:8720", "0.0.0.0", 8720, False),
        ("console.example:80", "console.example", 80, False),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, host: str, port: int, loopback: bool) -> None:
    found = parse_address(text, "--ui", LOOPBACK)
    assert (found.host, found.port, found.loopback) == (host, port, loopback)


@pytest.mark.parametrize("text", ["", "console", "console:", "65536", "-1", "80:http", "²"])
def test_any_other_address_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="write PORT"):
        parse_address(text, "--ui", LOOPBACK)


async def test_only_a_loopback_address_has_a_key(console: Console) -> None:
    async with serving(parse_address("127.0.0.1:0", "--ui", LOOPBACK), console.provider, console.actions) as link:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?key=[\w-]{32}", link)
        port = link.split(":")[2].split("/")[0]
        with pytest.raises(SpecError, match="cannot listen"):
            async with serving(parse_address(port, "--ui", LOOPBACK), console.provider, console.actions):
                pass
    async with serving(parse_address("0.0.0.0:0", "--ui", LOOPBACK), console.provider, console.actions) as link:
        assert re.fullmatch(r"http://0\.0\.0\.0:\d+/", link)
