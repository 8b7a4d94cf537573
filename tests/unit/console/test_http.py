"""The pages over HTTP: every text is escaped, and only who presented the key, in a form of this origin, acts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from kubesweep.errors import Outage
from kubesweep.queue.model import Attempt, DeadLetter, ErrorGroup
from kubesweep_console.app import build_console
from kubesweep_console.provider import ActionKind, ActionRefused, DeadLetters, Preview
from kubesweep_console.settings import ConsoleSettings
from tests.kits.console import HOSTILE, NOW, Provider, condition, document, sweep
from tests.kits.deadlines import scaled

KEY = "the-key-of-this-run"
CARTS = "/schedules/shop/carts"
PAGES = (
    "/",
    CARTS,
    f"{CARTS}/sweeps/latest",
    f"{CARTS}/dead-letters",
    "/dead-letters",
    "/databases",
    f"{CARTS}/trigger",
)
LOOPBACK = frozenset({"127.0.0.1"})
Client = TestClient[Any, Any]


@asynccontextmanager
async def serving(provider: Provider, *, acts: bool = True, **settings: Any) -> AsyncIterator[Client]:
    given = {"hosts": LOOPBACK, "key": KEY, "interval": 0.01, "clock": lambda: NOW, **settings}
    app = build_console(provider, ConsoleSettings(**given), provider if acts else None)
    async with TestClient(TestServer(app)) as client:
        yield client


async def log_in(client: Client) -> None:
    assert (await client.get("/", params={"key": KEY})).status == 200


async def fields(client: Client, path: str) -> dict[str, str]:
    """The hidden fields of the form on a page."""
    text = await (await client.get(path)).text()
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))


def full(name: str = "carts", text: str = "fine") -> dict[str, Any]:
    """A document in which every text that is shown is ``text``."""
    made = document(
        name,
        lastSweep=sweep("Failed", reason=text, message=text, sampleKeys=[text], cutoff=text, dead=3),
        history=[sweep(id="41aa")],
        queue={"dead": 3},
        conditions=[condition("Degraded", "True", "DeadLetters", text), condition(text, "True", text, text)],
        throttle={"reason": text, "percent": 50, "value": text, "limit": text, "message": text},
        spec={
            "schedule": text,
            "source": {"table": text, "schema": text, "key": [text], "health": {"query": {"sql": text, "limit": text}}},
            "match": [{"column": text, "in": [text]}, {"sql": text}],
            "effect": {"handler": text},
            "write": {"update": [{"column": text, "value": text}]},
        },
    )
    return {**made, "database": text}


def letters(text: str) -> DeadLetters:
    attempt = Attempt(NOW, text, text, text)
    group = ErrorGroup(text, 3, text, NOW, NOW, ((text,),), text)
    return DeadLetters((group,), (DeadLetter((text,), text, text, NOW, "9f2c", (attempt,), text),))


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


async def test_a_hostile_name_is_a_link_to_its_own_page() -> None:
    name = '../"><script>alert(1)</script>'
    async with serving(Provider(full(name))) as client:
        text = await (await client.get("/")).text()
        assert "<script>alert" not in text
        (address,) = re.findall(r'<a id="s-1" href="([^"]+)"', text)
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


async def test_the_key_moves_from_the_address_into_a_cookie_that_other_sites_cannot_send() -> None:
    async with serving(Provider(full())) as client:
        answer = await client.get("/", params={"key": KEY, "text": "x"}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/?text=x")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        wrong = await client.get("/", params={"key": "wrong"}, allow_redirects=False)
        assert (wrong.status, "Set-Cookie" in wrong.headers) == (303, False)


async def test_a_path_that_looks_like_a_host_is_no_redirect_to_it() -> None:
    async with serving(Provider(full())) as client:
        address = URL(f"http://{client.host}:{client.port}//attacker.example?key={KEY}", encoded=True)
        answer = await client.session.get(address, allow_redirects=False)
        assert not answer.headers.get("Location", "/").startswith("//")


async def test_without_the_key_the_command_is_shown_instead_of_a_form() -> None:
    async with serving(Provider(full())) as client:
        text = await (await client.get(f"{CARTS}/purge", params={"error": "Timeout"})).text()
        assert "type purge Timeout" in text
        assert "<form method" not in text
        assert "type trigger" in await (await client.get(CARTS)).text()
    async with serving(Provider(full()), acts=False) as client:
        await log_in(client)
        assert "<form method" not in await (await client.get(f"{CARTS}/purge")).text()


@pytest.mark.parametrize("kind", list(ActionKind))
async def test_an_action_says_what_it_will_do_and_is_done_once(kind: ActionKind) -> None:
    provider = Provider(full())
    async with serving(provider) as client:
        await log_in(client)
        assert "Ten rows change." in await (await client.get(f"{CARTS}/{kind}?error=Timeout")).text()
        form = await fields(client, f"{CARTS}/{kind}?error=Timeout")
        for _ in range(2):
            answer = await client.post(f"{CARTS}/{kind}", data=form)
            assert answer.status == 200
            assert "It was done: &lt;script&gt;" in await answer.text()
        ((action, nonce),) = provider.acted
        assert (action.kind, action.error, nonce) == (kind, "Timeout", form["nonce"])
        assert action.sweep == ("9f2c" if kind is ActionKind.APPROVE else "")


Change = Callable[[dict[str, str], dict[str, str]], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda form, headers: form.update(token=""),
        lambda form, headers: form.update(token="0" * 64),
        lambda form, headers: form.pop("token"),
        lambda form, headers: headers.update(Origin="https://attacker.example"),
        lambda form, headers: headers.update(Origin="null"),
        lambda form, headers: headers.update({"Sec-Fetch-Site": "cross-site"}),
        lambda form, headers: headers.update({"Sec-Fetch-Site": "same-site"}),
        lambda form, headers: headers.update(Cookie=""),
    ],
)
async def test_a_form_of_another_site_does_nothing(change: Change) -> None:
    provider = Provider(full())
    async with serving(provider) as client:
        await log_in(client)
        form, headers = await fields(client, f"{CARTS}/retry"), dict[str, str]()
        change(form, headers)
        if "Cookie" in headers:
            client.session.cookie_jar.clear()
        answer: ClientResponse = await client.post(f"{CARTS}/retry", data=form, headers=headers)
        assert (answer.status, provider.acted) == (403, [])


async def test_the_form_of_this_origin_acts() -> None:
    provider = Provider(full())
    async with serving(provider) as client:
        await log_in(client)
        form = await fields(client, f"{CARTS}/retry")
        headers = {"Origin": f"http://{client.host}:{client.port}", "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(f"{CARTS}/retry", data=form, headers=headers)).status == 200
        assert len(provider.acted) == 1


async def test_an_action_that_is_not_possible_says_why() -> None:
    provider = Provider(full())
    async with serving(provider) as client:
        await log_in(client)
        form = await fields(client, f"{CARTS}/trigger")
        provider.refusal = ActionRefused("Its sweep is not finished yet.")
        answer = await client.post(f"{CARTS}/trigger", data=form)
        assert answer.status == 409
        assert "not finished yet" in await answer.text()
        text = await (await client.get(f"{CARTS}/trigger")).text()
        assert "not finished yet" in text
        assert "<form method" not in text


async def test_an_action_on_no_row_cannot_be_confirmed() -> None:
    provider = Provider(full())
    provider.preview_of = Preview("No row changes.", 0)
    async with serving(provider) as client:
        await log_in(client)
        assert re.search(
            r"<button type=\"submit\" class=\"primary\" disabled>", await (await client.get(f"{CARTS}/retry")).text()
        )


async def test_an_address_without_a_result_leads_to_the_schedule() -> None:
    async with serving(Provider(full())) as client:
        answer = await client.get(f"{CARTS}/done/unknown", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, CARTS)


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
        assert "QueueUnreachable" in await (await client.get("/")).text()


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


async def test_a_running_sweep_gets_a_rate_from_the_readings_of_its_viewers() -> None:
    moment = [NOW]
    provider = Provider()
    async with serving(provider, clock=lambda: moment[0], interval=0.0) as client:
        for second in range(3):
            moment[0] = NOW + second
            running = sweep("Running", took=None, at=NOW - 9, planned=1000, applied=100 * second)
            provider.documents = (document(lastSweep=running),)
            text = await (await client.get(f"{CARTS}/sweeps/latest")).text()
        assert "100 rows/s" in text
        assert "8.0 s" in text
        assert "while you watched" in text


async def test_a_console_behind_a_path_links_below_it() -> None:
    async with serving(Provider(full()), base="/sweeps/") as client:
        text = await (await client.get("/")).text()
        assert set(re.findall(r'(?:href|src|action)="(/[^/"]*/)', text)) == {"/sweeps/"}
