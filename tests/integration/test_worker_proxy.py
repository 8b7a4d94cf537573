"""A webhook through a proxy, as HTTP_PROXY and NO_PROXY of the worker's environment say."""

from __future__ import annotations

import pytest
from aiohttp import web

from kubesweep.errors import Outage
from kubesweep_worker.effects.proxy import proxy_for
from tests.integration.receivers import SECRET, deliver, receiver, webhook

SHOP = "http://shop.example"


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def test_a_row_goes_through_the_proxy_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return web.Response()

    async with receiver(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.replace("//", "//ann:hunter2@"))
        async with webhook(SHOP) as effect:
            await effect.probe()
        await deliver(SHOP)
    assert asked == [(SHOP + SECRET, "Basic YW5uOmh1bnRlcjI=")]


async def test_a_proxy_that_is_not_there_or_refuses_is_an_outage_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.Response:
        raise AssertionError

    async with receiver(answer) as proxy:
        port = proxy.rpartition(":")[2]
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(Outage, match="the proxy answered 404"):
            await deliver("https://shop.example")
    with pytest.raises(Outage, match=f"no connection to the proxy 127.0.0.1:{port}"):
        await deliver("https://shop.example/hook")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    async with webhook(SHOP) as effect:
        with pytest.raises(Outage, match=r"the name of the proxy proxy\.invalid cannot be resolved"):
            await effect.probe()
    with pytest.raises(Outage, match=r"the name of the proxy proxy\.invalid cannot be resolved"):
        await deliver(SHOP)


@pytest.mark.parametrize(
    "value",
    [
        "http://[::1",
        "http://10.0.0.1:99999",
        "http://:3128",
        "socks5://10.0.0.1:1080",
        "http://a b:3128",
        "http://u:hunter2@",
        "http://hunter2#x@10.0.0.1:3128",
        "http://ann:2024/hunter2@10.0.0.1:3128",
        "http://p..x:3128",
        "http://1.2.3.4.5:80",
    ],
)
async def test_what_is_no_proxy_is_an_outage_that_names_the_variable_and_not_the_row(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(Outage, match="HTTP_PROXY in the worker's environment is not the URL of an HTTP proxy") as found:
        await deliver(SHOP)
    assert found.value.reason == "ProxyInvalid"
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        (SHOP, "", True),
        (SHOP, "other.example", True),
        (SHOP, "shop.example", False),
        (SHOP, ".example", False),
        (SHOP, "*", False),
        ("http://10.1.2.3/", "10.0.0.0/8", False),
        ("http://10.1.2.3/", "10.1.2.3", False),
        ("http://11.1.2.3/", "10.0.0.0/8", True),
        ("http://mailer.shop.svc/", ".svc,.cluster.local", False),
        ("http://localhost:8080/", "", False),
        ("http://127.0.0.1:8080/", "", False),
        ("https://shop.example/", "", False),  # HTTP_PROXY is for http:// alone
    ],
)
def test_no_proxy_is_a_list_of_names_suffixes_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, proxied: bool
) -> None:
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url) == ("http://proxy.example:3128" if proxied else None)
