"""URLs whose password is not percent-encoded: each program reads another host in them."""

from __future__ import annotations

import pytest

from kubesweep.errors import SpecError, SweepFailure
from kubesweep.queue.redis.connections import parse
from kubesweep.urls import has_unescaped_login
from kubesweep_worker.sources.postgres.pool import check_url

BAD = ["hun@ter2", "hun#ter2", "hun/ter2", "hun?ter2", "hun[ter2", "hun/t#er2", "@hunter2", "2024#x/y"]


@pytest.mark.parametrize("password", BAD)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(password: str) -> None:
    for scheme, call in (("postgresql", check_url), ("redis", parse), ("rediss", parse)):
        with pytest.raises((SweepFailure, SpecError), match="percent-encode the password") as found:
            call(f"{scheme}://ann:{password}@db.example:5432/0")
        for part in ("hun", "ter2", "2024", "x/y"):
            assert part not in str(found.value)


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
    ],
)
def test_a_url_that_is_encoded_is_taken(url: str) -> None:
    assert not has_unescaped_login(url)


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
    "url", ["redis://ann@db.example/0", "redis://ann:@db.example/0", "redis+cluster://ann@one,two"]
)
def test_a_user_without_a_password_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="has a user but no password"):
        parse(url)
