"""Who may act: only a browser that presented the key, in a form of this origin. Each action asks first, and is done once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from aiohttp import ClientResponse
from yarl import URL

from kubesweep_console.provider import ActionKind, ActionRefused, Preview
from tests.kits.console import CARTS, HOSTILE, KEY, Provider, document, fields, full, log_in, serving, sweep


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


@pytest.mark.parametrize("may_act", [True, False])
async def test_the_page_of_an_approval_shows_what_would_be_approved(may_act: bool) -> None:
    proposal = {
        "rows": 41_200,
        "estimated": True,
        "oldestTime": "2026-01-01T00:00:00Z",
        "newestTime": "2026-02-01T00:00:00Z",
        "sampleKeys": ['["42"]', HOSTILE],
    }
    last = sweep("AwaitingApproval", reason="PredicateChanged", message=f"match {HOSTILE}", proposal=proposal)
    async with serving(Provider(document("carts", lastSweep=last)), acts=may_act) as client:
        if may_act:
            await log_in(client)
        text = await (await client.get(f"{CARTS}/approve")).text()
        assert HOSTILE not in text
        for shown in (
            "PredicateChanged: match",
            "41,200 rows (estimated)",
            "since 2026-01-01",
            "since 2026-02-01",
            "42, ",
        ):
            assert shown in text
        assert ("<form method" in text) is may_act
        assert "41,200 rows" not in await (await client.get(f"{CARTS}/pause")).text()


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


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded; charset=nope", 400),
    ],
)
async def test_what_is_no_form_of_the_console_is_the_mistake_of_its_sender(kind: str, status: int) -> None:
    async with serving(Provider(full())) as client:
        answer = await client.post(f"{CARTS}/retry", data=b"token=1", headers={"Content-Type": kind})
        assert answer.status == status


async def test_a_double_click_acts_once() -> None:
    provider = Provider(full())
    async with serving(provider, interval=3600.0) as client:
        await log_in(client)
        form = await fields(client, f"{CARTS}/retry")
        provider.answers.clear()
        clicks = [asyncio.create_task(client.post(f"{CARTS}/retry", data=form)) for _ in range(2)]
        await asyncio.wait(clicks, timeout=0.1)
        provider.answers.set()
        assert [answer.status for answer in await asyncio.gather(*clicks)] == [200, 200]
        assert len(provider.acted) == 1


async def test_a_later_console_on_the_same_port_replaces_the_cookie_of_the_former() -> None:
    names: list[str] = []
    for key in ("one", "two"):
        async with serving(Provider(full()), key=key) as client:
            for port in (8720, 8721):
                answer = await client.get(
                    "/", params={"key": key}, headers={"Host": f"127.0.0.1:{port}"}, allow_redirects=False
                )
                names += answer.cookies
    assert names == ["kubesweep-console-8720", "kubesweep-console-8721"] * 2


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
        # The page follows its address, which shows the question: what follows the data would be replaced.
        kept, _, follows = (await answer.text()).partition('<div id="live">')
        assert ("not finished yet" in kept, "not finished yet" in follows) == (True, False)
        text = await (await client.get(f"{CARTS}/trigger")).text()
        assert "not finished yet" in text
        assert "<form method" not in text


async def test_a_page_that_may_not_act_any_more_says_so_while_it_is_open() -> None:
    """The command was started again, so that its key is another one, and the buttons become commands."""
    async with serving(Provider(full())) as client:
        text = await (await client.get(CARTS)).text()
        assert "This browser can only read." in text.partition('<div id="live">')[2]


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
