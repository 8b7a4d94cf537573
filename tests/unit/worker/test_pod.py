"""The environment of a pod: plan, source and headers."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.pod.database import DatabaseUrl
from kubesweep_worker.pod.mounted_secrets import HeaderFiles
from kubesweep_worker.pod.tick import nominal_time
from kubesweep_worker.sources.base import Predicate, Range
from kubesweep_worker.sources.reconnecting import ReconnectingSource
from tests.integration.pod import SecretVolume, pod_plan
from tests.integration.test_worker_handlers import make_table

CUTOFF = "2026-01-01 00:00:00.000"


@pytest.mark.parametrize(
    ("job", "minutes"),
    [
        ("carts-tick-29400000", 29_400_000),
        ("carts-tick-129400000", 129_400_000),
        ("carts-tick-1", None),
        ("carts-tick-029400000", None),
        ("carts-tick-29400000-x", None),
        ("carts-tick-29400000\n", None),
        ("other-tick-29400000", None),
        ("carts-tick-manual-29400000", None),
        ("cartsxtick-29400000", None),
        ("carts-tick", None),
    ],
)
def test_only_the_name_that_a_cronjob_gives_holds_a_time(job: str, minutes: int | None) -> None:
    assert nominal_time(job, "carts-tick") == (None if minutes is None else minutes * 60.0)


@pytest.fixture
def volume(tmp_path: Path) -> SecretVolume:
    return SecretVolume(tmp_path / "volume")


def test_a_mounted_url_is_what_the_secret_says_now(volume: SecretVolume) -> None:
    url = DatabaseUrl(volume.folder / "url", "db/uri", "shop")
    for entries in ({}, {"url": ""}, {"url": " \n"}):
        volume.show(**entries)
        with pytest.raises(Outage, match='the Secret "db" in namespace "shop" does not exist, or its key "uri"') as met:
            url()
        assert met.value.reason == "UrlMissing"
    volume.show(url="postgresql://a@b/c\n")
    assert url() == "postgresql://a@b/c"
    volume.show(url="postgresql://a@d/c")
    assert url() == "postgresql://a@d/c"
    volume.show(url="oracle://a:hunter2@d/c")
    with pytest.raises(SweepFailure, match='the scheme "oracle" is not supported') as failed:
        url()
    assert "hunter2" not in str(failed.value)
    volume.show()
    with pytest.raises(Outage):
        url()


def test_a_mounted_url_of_other_than_utf8_is_named_without_being_quoted(volume: SecretVolume) -> None:
    volume.show(url="x")
    (volume.folder / "..data" / "url").write_bytes(b"\xff\xfehunter2")
    with pytest.raises(SweepFailure, match="not UTF-8"):
        DatabaseUrl(volume.folder / "url", "db/uri", "shop")()


def test_mounted_headers_are_what_the_secret_says_now(volume: SecretVolume) -> None:
    headers = HeaderFiles(volume.folder, "hooks", "shop")
    with pytest.raises(Outage, match=r'"hooks" in namespace "shop" .* does not exist, or is empty') as met:
        headers()
    assert met.value.reason == "HeadersMissing"
    volume.show(**{"Authorization": "Bearer 1\n", "X-Team": "carts"})
    assert headers() == {"Authorization": "Bearer 1", "X-Team": "carts"}
    volume.show(Authorization="Bearer 2")
    assert headers() == {"Authorization": "Bearer 2"}
    volume.show(Authorization="hunter2\nEvil: yes")
    with pytest.raises(Outage, match='"Authorization" cannot be an HTTP header') as met:
        headers()
    assert (met.value.reason, "hunter2" in str(met.value)) == ("HeadersInvalid", False)


async def test_a_source_is_reopened_with_another_url_and_calls_under_way_end_on_the_old_one(tmp_path: Path) -> None:
    urls = [make_table(tmp_path / f"{number}.db", number) for number in (3, 5)]
    now = [urls[0]]
    source = ReconnectingSource(pod_plan(), lambda: now[0], "Look there.")
    assert len(await source.keys(Range(), Predicate(CUTOFF))) == 3
    with closing(sqlite3.connect(tmp_path / "3.db", isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(source.write(Range(), Predicate(CUTOFF)))
        await asyncio.sleep(0)
        now[0] = urls[1]
        assert len(await source.keys(Range(), Predicate(CUTOFF))) == 5
        assert not writing.done()
        lock.execute("COMMIT")
        assert (await writing).applied == 3
    await source.close()


async def test_errors_that_come_of_the_url_say_where_it_is(tmp_path: Path) -> None:
    source = ReconnectingSource(pod_plan(), lambda: "mysql://db", "Look there.")
    with pytest.raises(SweepFailure, match=r"Look there\.$") as failed:
        await source.probe()
    assert failed.value.reason == "UrlInvalid"
    await source.close()


def test_a_pod_of_a_worker_loads_no_model_and_no_http_client_before_it_needs_them() -> None:
    needed = "kubesweep_worker.pod.work, kubesweep_worker.sources.postgres.source, kubesweep.queue.redis.queue"
    heavy = "sorted({'pydantic', 'aiohttp', 'typer', 'yaml'} & set(__import__('sys').modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"import {needed}; print({heavy})"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
