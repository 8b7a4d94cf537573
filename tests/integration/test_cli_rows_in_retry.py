"""`kubesweep dead` selects rows in retry too, and reports which rows belong to another table."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kubesweep.queue.connect import connect
from kubesweep.queue.model import ScheduleRef, Settlement
from kubesweep.queue.service import QueueService
from kubesweep_cli.commands.dead_letters import (
    Choice,
    count_purge,
    dead_list,
    dead_purge,
    dead_retry,
    dead_show,
    purge_question,
)
from kubesweep_cli.shell.exit_codes import NotFound
from kubesweep_cli.shell.terminal import THEME, Terminal
from tests.contract.helpers import MANY, REF, TICK, failed, get_stats, key, make_dead_letters, one, retry, settle, start

NAME = REF.name


class Shown:
    def __init__(self) -> None:
        self.text = io.StringIO()
        console = Console(file=self.text, width=300, color_system=None, theme=THEME)
        self.terminal = Terminal(console, console)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'queue.db'}"


async def waiting(queue: QueueService) -> None:
    await start(queue, 2)
    await settle(queue, Settlement(await one(queue), retry=retry(1, 2, delay=86_400.0, error="Http503")))


async def test_rows_in_retry_are_listed_shown_retried_and_purged(url: str) -> None:
    queue, shown = connect(url), Shown()
    await waiting(queue)
    choice = Choice(queue=url, name=NAME, retrying=True)
    await dead_list(queue, shown.terminal, choice)
    await dead_show(queue, shown.terminal, choice)
    assert "Http503" in shown.text.getvalue()
    assert "row 2 was refused" in shown.text.getvalue()
    await dead_retry(queue, shown.terminal, Choice(queue=url, name=NAME, keys=("1",)))
    stats = await get_stats(queue)
    assert (stats.ready, stats.delayed) == (1, 1)
    assert await count_purge(queue, Choice(queue=url, name=NAME)) == 2
    await dead_purge(queue, shown.terminal, Choice(queue=url, name=NAME))
    assert (await queue.excluded(REF)).keys == frozenset()
    with pytest.raises(NotFound, match="No rows in retry"):
        await dead_show(queue, shown.terminal, choice)
    await queue.close()


async def test_dead_letters_of_another_table_are_named_and_refuse_a_retry(url: str) -> None:
    queue, shown = connect(url), Shown()
    await make_dead_letters(queue, 1, origin="public.old(id) #1")
    await start(queue, tick=TICK + 60, origin="public.new(id) #2")
    await dead_list(queue, shown.terminal, Choice(queue=url, name=NAME))
    assert "1 row of public.old(id) #1 set aside, because public.new(id) #2 is swept now" in shown.text.getvalue()
    with pytest.raises(NotFound, match="none of the dead letters belongs to the table that is swept now"):
        await dead_retry(queue, shown.terminal, Choice(queue=url, name=NAME))
    assert (await queue.excluded(REF)).keys == {key(1)}
    await queue.close()


async def test_dead_letters_of_another_table_do_not_keep_those_of_other_schedules_from_being_retried(url: str) -> None:
    queue, shown = connect(url), Shown()
    await make_dead_letters(queue, 1, origin="public.old(id) #1")
    await start(queue, tick=TICK + 60, origin="public.new(id) #2")
    later = ScheduleRef("local", "default", "later", "8b5f6f0e-0000-4000-8000-000000000009")
    await start(queue, 1, ref=later)
    await queue.settle(later, "ann", [Settlement(await one(queue, ref=later), dead=failed(7))], 0, MANY)
    assert await dead_retry(queue, shown.terminal, Choice(queue=url, all=True)) == 0
    assert "later: 1 row will be tried again" in shown.text.getvalue()
    assert "set aside" in shown.text.getvalue()
    await queue.close()


def test_a_purge_of_every_schedule_of_a_namespace_asks_for_no_more() -> None:
    assert "every schedule from" in purge_question(Choice(queue="", all=True), 3)
    assert "every schedule of the namespace shop" in purge_question(Choice(queue="", all=True, namespace="shop"), 3)
