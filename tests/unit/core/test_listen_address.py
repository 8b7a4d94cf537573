"""The address that a program listens on."""

from __future__ import annotations

import pytest

from kubesweep.errors import SpecError
from kubesweep.listen_address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9108", Address(None, 9108)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
        ("[::1]:9108", Address("::1", 9108)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert parse_address(text, "--metrics") == address
    assert str(address) == text
    assert parse_address("9108", "--metrics") == Address(None, 9108)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("8720", False),
        ("localhost:8720", True),
        ("127.8.0.1:0", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("shop:1", False),
    ],
)
def test_only_some_addresses_are_of_this_machine_alone(text: str, loopback: bool) -> None:
    assert parse_address(text, "--ui").loopback is loopback


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":http", ":65536", ":-1", "::1", "::1:9108", ":²"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_address(text, "--metrics")
    assert caught.value.code == "BadAddress"
    assert str(caught.value).startswith(f"--metrics {text}: write PORT or HOST:PORT")


def test_without_a_host_it_listens_on_every_address_of_the_machine() -> None:
    with Address(None, 0).listen() as sock:
        assert sock.getsockname()[0] in ("::", "0.0.0.0")
