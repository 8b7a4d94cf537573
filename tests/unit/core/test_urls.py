"""URLs whose password is not percent-encoded: each program reads another host in them."""

from __future__ import annotations

import pytest

from kubesweep.api import secret_values
from kubesweep.errors import SpecError, SweepFailure
from kubesweep.logging import safe_url
from kubesweep.queue.redis.connections import parse
from kubesweep.urls import can_be_host, has_bare_percent, has_unescaped_login, shown_url
from kubesweep_worker.sources.postgres.connection_url import check_url

BAD = ["hun@ter2", "hun#ter2", "hun/ter2", "hun?ter2", "hun[ter2", "hun/t#er2", "@hunter2", "2024#x/y"]


@pytest.mark.parametrize("password", BAD)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(password: str) -> None:
    for scheme, call in (("postgresql", check_url), ("redis", parse), ("rediss", parse)):
        with pytest.raises((SweepFailure, SpecError), match="percent-encode the password") as found:
            call(f"{scheme}://ann:{password}@db.example:5432/0")
        for part in ("hun", "ter2", "2024", "x/y"):
            assert part not in str(found.value)


def test_a_slash_in_the_name_of_a_user_is_found_too() -> None:
    for scheme, call in (("postgresql", check_url), ("redis+sentinel", parse)):
        with pytest.raises((SweepFailure, SpecError), match="percent-encode the password") as found:
            call(f"{scheme}://an/n:hunter2@db.example/main")
        assert "hunter2" not in str(found.value)
    assert safe_url("redis://an/n:hun?ter2@db") == "redis://..."


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hun%40ter2@db.example/app",
        "postgresql://ann:hunter2@db.example:5432/app?application_name=a@b",
        "postgresql://ann:hunter2@[::1]:5432/app",
        "postgresql://ann:hunter2@one:5432,two:5432/app",
        "postgresql:///app?host=/var/run/postgresql",
        "postgresql://db.example:5432/a@b",
        "redis://:hunter2@db.example/0",
        "redis+sentinel://ann:hunter2@one:26379,two:26379/main?db=0",
        "unix:///tmp/a@b.sock",
        "sqlite:////tmp/a@b.db",
        "sqlite:////tmp/a:1@b.db",
        "redis://db.example:port/0",
    ],
)
def test_a_url_that_is_encoded_is_taken(url: str) -> None:
    assert not has_unescaped_login(url)


@pytest.mark.parametrize("password", ["hun%ter2", "hunter2%", "%2", "50%25%"])
def test_a_percent_that_encodes_nothing_is_refused_before_libpq_shows_it(password: str) -> None:
    with pytest.raises(ValueError, match="write %25 for it") as found:
        secret_values.check_url(f"postgresql://ann:{password}@db.example/app")
    assert "hun" not in str(found.value)
    assert not has_bare_percent("postgresql://ann:50%25@db.example/app?options=%zz")
    assert not has_bare_percent("postgresql://ann:%aF%Fa@db.example/app")


@pytest.mark.parametrize(
    ("query", "reported"),
    [
        ("pgbouncer=true", "pgbouncer"),
        ("schema=shop", "spec.source.schema"),
        ("sslmode=require&connection_limit=5", "connection_limit"),
    ],
)
def test_a_parameter_of_another_client_is_named(query: str, reported: str) -> None:
    with pytest.raises(SweepFailure, match=reported) as found:
        check_url(f"postgresql://ann:hunter2@db/app?{query}")
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "//ann:hunter2/app",
        "//127.0.0.1:hunter2/app",
        "//db:0/app",
        "//db:65536/app",
        "///app?port=5e3",
        "//one:5432,two:x/app",
    ],
)
def test_a_port_that_no_server_has_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SweepFailure, match="from 1 to 65535") as found:
        check_url(f"postgresql:{url}")
    assert found.value.reason == "UrlInvalid"
    assert "hunter2" not in str(found.value)
    for good in (
        "//db/app",
        "//db:5432/app",
        "//one,two:5433/app",
        "//db:/app",
        "///app?port=%205432",
        "//[::1]:65535/app",
    ):
        check_url(f"postgresql:{good}")


@pytest.mark.parametrize(
    "url", ["redis://ann@db.example/0", "redis://ann:@db.example/0", "redis+cluster://ann@one,two"]
)
def test_a_user_without_a_password_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="has a user but no password"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ann:hunter2@db:6379/0", "redis://db:6379/0"),
        ("redis+sentinel://one,two/main?sentinel_password=hunter2", "redis+sentinel://one,two/main"),
        ("redis://ann:hun?ter2@db", "redis://..."),
        ("redis://db/0?x=hun@ter2", "redis://..."),
        ("redis://ann:hunter2@db/0?x=a@b", "redis://db/0"),
        ("redis:ann:hunter2@db", "db"),
        ("queue.db", "queue.db"),
        ("ftp://a\x1b[31m\nb", "ftp://a\ufffd[31m b"),
    ],
)
def test_a_message_shows_a_url_without_what_may_be_a_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("host", "can"),
    [("db", True), ("a.b.", True), ("::1", True), ("fe80::1%eth0", True), ("ü.example", True), ("a." * 126 + "a", True)]
    + [(host, False) for host in ("a b", "a..b", "a" * 64, "a." * 126 + "ab", "a\x1b", "[a]", "a/b", "u@db")],
)
def test_a_host_that_no_resolver_takes_is_found(host: str, can: bool) -> None:
    assert can_be_host(host) is can
