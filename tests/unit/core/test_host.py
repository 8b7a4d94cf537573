from __future__ import annotations

import pytest

from kubesweep.api.host import check_host
from kubesweep.api.secret_values import OURS, check_headers


@pytest.mark.parametrize(
    "host",
    ["localhost", "a_b", "mailer.shop.svc", "example.com.", "1.2.3.4", "127.1", "[::1]", "münchen.de", "☕.example",
     "xn--mnchen-3ya.de", "xn--fa-hia.de", "x" * 63],
)  # fmt: skip
def test_a_host_that_may_exist_is_taken(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    ["-", "a-", "-a.example", "a..b", ".a", "..", ".", "a b", "a%20b", "a,b", "xn--", "x" * 64, ".".join(["abc"] * 64),
     "256.1.1.1", "[1::2::3]", "ü" * 64],
)  # fmt: skip
def test_a_host_that_cannot_exist_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        check_host(host)
    assert host.strip(".") == "" or host not in str(caught.value)


@pytest.mark.parametrize("name", ["Transfer-Encoding", "EXPECT", "Content-Length", "host", "Connection", *OURS])
def test_a_header_that_the_worker_decides_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f'the entry "{name}" must not be a header here') as caught:
        check_headers({name: "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE"])
def test_no_entry_replaces_a_header_of_the_signature(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"the worker sets it for each request \(effect\.webhook\.(signWith|batchRows)\)"
    ):
        check_headers({name: "v1,forged"})


def test_one_header_in_two_spellings_is_refused() -> None:
    with pytest.raises(ValueError, match='the entries "authorization" and "Authorization" are one header'):
        check_headers({"authorization": "a", "Authorization": "b"})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: b", "Zürich", "a\0b"])
def test_a_value_that_is_not_one_line_of_ascii_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match='"X-Team" cannot be an HTTP header'):
        check_headers({"X-Team": value})
