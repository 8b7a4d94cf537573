"""The pages over HTTP: every text is escaped, old data are called stale, and nothing is read that nobody watches."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep.errors import Outage
from kubesweep_console.provider import DeadLetters, Preview
from tests.kits.console import CARTS, HOSTILE, Provider, document, full, letters, log_in, serving, sweep
from tests.kits.deadlines import scaled

PAGES = (
    "/",
    CARTS,
    f"{CARTS}/sweeps/latest",
    f"{CARTS}/dead-letters",
    "/dead-letters",
    "/databases",
    f"{CARTS}/trigger",
)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_answers_and_names_its_schedule(path: str) -> None:
    provider = Provider(full())
    provider.letters = letters("fine")
    async with serving(provider) as client:
        answer = await client.get(path)
        assert answer.status == 200
        assert "carts" in await answer.text()


@pytest.mark.parametrize("path", PAGES)
async def test_no_text_from_outside_becomes_markup(path: str) -> None:
    provider = Provider(full(text=HOSTILE))
    provider.letters = letters(HOSTILE)
    provider.preview_of = Preview(HOSTILE, 10)
    async with serving(provider) as client:
        await log_in(client)
        text = await (await client.get(path)).text()
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text
        assert not set(text) & {"\u202e", "\x1b"}
        assert re.findall(r"<script(?! src=\"/static/)", text) == []


async def test_without_a_schedule_the_page_says_what_to_type_for_the_first() -> None:
    async with serving(Provider()) as client:
        assert f"<code>{Provider.first}</code>" in await (await client.get("/")).text()


async def test_a_hostile_name_is_a_link_to_its_own_page() -> None:
    name = '../"><script>alert(1)</script>'
    async with serving(Provider(full(name))) as client:
        text = await (await client.get("/")).text()
        assert "<script>alert" not in text
        (address,) = re.findall(r'<th [^>]*><a href="([^"]+)"', text)
        answer = await client.get(address.replace("&amp;", "&"))
        assert answer.status == 200


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
STATUS = ("conditions", "lastSweep", "history", "queue", "ticks", "throttle", "backlog", "lastScheduleTime", "errors")
SPECS = (
    "schedule",
    "every",
    "timeZone",
    "source",
    "match",
    "effect",
    "write",
    "limits",
    "retry",
    "deadLetters",
    "suspend",
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(STATUS), json), st.dictionaries(st.sampled_from(SPECS), json), json)
def test_a_document_of_any_shape_is_shown(status: dict[str, Any], spec: dict[str, Any], database: Any) -> None:
    async def ask() -> None:
        made = {"metadata": {"namespace": "shop", "name": "carts", "uid": "u"}, "status": status, "spec": spec}
        async with serving(Provider({**made, "database": database})) as client:
            for path in ("/", CARTS, f"{CARTS}/sweeps/latest", "/dead-letters", "/databases"):
                assert (await client.get(path)).status in (200, 404), path

    asyncio.run(ask())


async def test_the_filter_is_in_the_address() -> None:
    async with serving(Provider(document("carts", "shop"), document("logs", "test"))) as client:
        text = await (await client.get("/", params={"namespace": "test", "text": "log"})).text()
        assert "1 of 2 schedules match" in text
        assert "/schedules/test/logs" in text
        assert "/schedules/shop/carts" not in text
        assert "<option selected>test</option>" in text


async def test_two_schedules_of_one_name_have_a_page_each() -> None:
    twins = [{**full(), "metadata": {"namespace": "shop", "name": "carts", "uid": uid}} for uid in ("one", "two")]
    twins[1]["status"] = {}
    async with serving(Provider(*twins)) as client:
        addresses = re.findall(r'<th [^>]*><a href="([^"]+)"', await (await client.get("/")).text())
        assert sorted(addresses) == [f"{CARTS}?uid=one", f"{CARTS}?uid=two"]
        assert "Never swept" in await (await client.get(f"{CARTS}?uid=two")).text()
        assert f"{CARTS}/sweeps/9f2c?uid=one" in await (await client.get(f"{CARTS}?uid=one")).text()
        assert (await client.get(f"{CARTS}?uid=three")).status == 404


async def test_what_does_not_exist_is_not_found() -> None:
    async with serving(Provider(full())) as client:
        for path in ("/schedules/shop/none", f"{CARTS}/sweeps/none", "/static/none.js", f"{CARTS}/explode", "/none"):
            assert (await client.get(path)).status == 404, path


async def test_another_host_name_is_refused_for_pages_and_events() -> None:
    async with serving(Provider(full())) as client:
        for path in ("/", "/events", "/static/console.js"):
            for host in ("attacker.example", "attacker.example:80", "[", ""):
                answer = await client.get(path, headers={"Host": host})
                assert answer.status in (400, 421), (path, host)
    async with serving(Provider(full()), hosts=None) as client:
        assert (await client.get("/", headers={"Host": "sweeps.example"})).status == 200


@pytest.mark.parametrize("path", [*PAGES, "/none", "/static/console.js"])
async def test_every_answer_forbids_what_is_not_the_consoles_own(path: str) -> None:
    async with serving(Provider(full())) as client:
        headers = (await client.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
        assert ("no-store" in headers["Cache-Control"]) is ("static" not in path)


async def test_old_data_are_shown_and_called_stale_while_the_provider_does_not_answer() -> None:
    provider = Provider(full())
    async with serving(provider) as client:
        assert "Stale data" not in await (await client.get("/")).text()
        provider.outage = Outage("QueueUnreachable", "the queue is down")
        await asyncio.sleep(0.02)
        text = await (await client.get("/")).text()
        assert "Stale data." in text
        assert "QueueUnreachable: the queue is down" in text
        assert "carts" in text
        assert (await client.get(f"{CARTS}/dead-letters")).status == 503


async def test_an_outage_at_the_start_is_shown_too() -> None:
    provider = Provider()
    provider.outage = Outage("QueueUnreachable", "the queue is down")
    async with serving(provider) as client:
        text = await (await client.get("/")).text()
        assert "QueueUnreachable" in text
        assert "There is no schedule" not in text
        assert (await client.get(CARTS)).status == 503


async def test_a_provider_that_does_not_answer_delays_no_page() -> None:
    provider = Provider(full())
    async with serving(provider, patience=0.05) as client, asyncio.timeout(scaled(60)):
        assert "Stale data" not in await (await client.get("/")).text()
        provider.answers.clear()
        while "Stale data" not in (text := await (await client.get("/")).text()):
            pass
        assert "No answer yet" in text
        assert "carts" in text
        async with client.get("/events") as answer:
            late = await version(answer)
            assert f'data-version="{late}"' in text
            provider.answers.set()
            while await version(answer) == late:
                pass
        assert "Stale data" not in await (await client.get("/")).text()


@pytest.mark.parametrize(
    ("end", "zone"), [("0001-01-01T00:00:00Z", "America/New_York"), ("9999-12-31T23:59:59Z", "Europe/Berlin")]
)
async def test_a_time_at_an_end_of_the_calendar_is_shown(end: str, zone: str) -> None:
    last = sweep(tick=end, startTime=end, completionTime=end)
    made = document(lastSweep=last, lastScheduleTime=end, spec={"schedule": "@daily", "timeZone": zone})
    async with serving(Provider(made)) as client:
        for path in (CARTS, f"{CARTS}/sweeps/latest"):
            assert f"{end[4:10]} {end[11:19]} UTC" in await (await client.get(path)).text()


async def test_a_problem_is_in_the_part_of_a_page_that_follows_the_data() -> None:
    async with serving(Provider(full())) as client:
        text = await (await client.get("/schedules/shop/none")).text()
        assert "There is no schedule none" in text.partition('<div id="live">')[2]


@pytest.mark.parametrize("path", [CARTS, f"{CARTS}/sweeps/latest", f"{CARTS}/dead-letters", "/schedules/shop/none"])
async def test_a_page_that_is_left_open_has_the_heading_of_what_it_shows(path: str) -> None:
    """The latest sweep becomes another one, and what a page is about may be deleted."""
    async with serving(Provider(full())) as client:
        fixed, _, follows = (await (await client.get(path)).text()).partition('<div id="live">')
        assert (fixed.count("<h1>"), follows.count("<h1>")) == (0, 1)


async def test_rows_and_groups_that_come_and_go_have_keys_of_their_own() -> None:
    """Otherwise a browser that changes a page in place would take one for another."""
    provider = Provider(*({**full(name), "database": "db"} for name in ("carts", "other")))
    for each in provider.documents:
        each["status"]["signals"] = [{"name": name, "limit": "2", "percent": 100} for name in ("ReplayLag", "Wal")]
    (group,) = letters("fine").groups
    provider.letters = DeadLetters((group, msgspec.structs.replace(group, origin="public.moved #1")))
    async with serving(provider) as client:
        for path in PAGES:
            text = await (await client.get(path)).text()
            bodies = [re.findall("<tr[^>]*>", each) for each in re.findall("<tbody.*?</tbody>", text, re.DOTALL)]
            for elements in (*bodies, re.findall('<section class="group"[^>]*>', text)):
                keys = [key for each in elements for key in re.findall('data-key="([^"]+)"', each)]
                assert len(set(keys)) == len(elements), (path, elements)


async def version(answer: ClientResponse) -> str:
    line = await answer.content.readuntil(b"\n\n")
    assert line.startswith(b"data: ")
    return line.decode().removeprefix("data: ").strip()


async def test_the_stream_reports_another_version_after_a_change_only() -> None:
    provider = Provider(full())
    async with serving(provider) as client, asyncio.timeout(scaled(60)):
        page = await (await client.get("/")).text()
        async with client.get("/events") as answer:
            assert answer.content_type == "text/event-stream"
            first = await version(answer)
            assert f'data-version="{first}"' in page
            assert {await version(answer) for _ in range(3)} == {first}
            provider.documents = (full("other"),)
            while await version(answer) == first:
                pass


async def test_a_server_that_stops_ends_its_streams() -> None:
    async with asyncio.timeout(scaled(60)):
        async with serving(Provider(full())) as client:
            answer = await client.get("/events")
            await version(answer)
            await client.server.close()
            assert await answer.read() is not None


async def test_streams_are_limited_and_an_ended_one_makes_room() -> None:
    async with asyncio.timeout(scaled(60)), serving(Provider(full()), streams=1) as client:
        answer = await client.get("/events")
        await version(answer)
        assert (await client.get("/events")).status == 503
        answer.close()
        while (again := await client.get("/events")).status == 503:
            again.release()
        await version(again)


async def test_several_viewers_read_the_provider_once() -> None:
    provider = Provider(full())
    async with serving(provider, interval=1000.0) as client:
        await asyncio.gather(*(client.get(path) for path in ("/", "/", CARTS, "/databases")))
        assert provider.reads == 1


async def test_a_console_behind_a_path_links_below_it() -> None:
    async with serving(Provider(full()), base="/sweeps/") as client:
        text = await (await client.get("/")).text()
        assert set(re.findall(r'(?:href|src|action)="(/[^/"]*/)', text)) == {"/sweeps/"}


async def test_a_private_console_shows_nothing_without_the_key() -> None:
    async with serving(Provider(full()), acts=False, private=True) as client:
        for path in (*PAGES, "/static/console.css", "/events"):
            answer = await client.get(path)
            assert (answer.status, "carts" in await answer.text()) == (403, False)
        assert (await client.get("/", params={"key": "wrong"})).status == 403
        await log_in(client)
        assert "carts" in await (await client.get(CARTS)).text()
