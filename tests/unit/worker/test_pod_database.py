"""The database credentials of a pod, from mounted parts and from files that another container writes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict

from kubesweep.api import database_url
from kubesweep.api.database_url import Parts
from kubesweep.errors import Outage, SpecError, SweepFailure
from kubesweep_worker.pod import database as pods
from kubesweep_worker.pod.database import DatabaseFile, DatabaseParts, DatabaseUrl, pod_database, read_together
from kubesweep_worker.sources.reconnecting import ReconnectingSource
from tests.integration.pod import SecretVolume, pod_plan

KEYS = {"host": "host", "port": "port", "database": "dbname", "username": "username", "password": "password"}
PARTS = Parts(secret="shop-app", keys=KEYS)
ENTRIES = {"host": "db", "database": "shop", "username": "sweep", "password": "hunter2"}


@pytest.fixture
def volume(tmp_path: Path) -> SecretVolume:
    return SecretVolume(tmp_path / "volume")


def refused(read: pods.PodDatabase) -> str:
    with pytest.raises(Outage) as met:
        read()
    assert met.value.reason == "UrlMissing"
    assert "hunter2" not in str(met.value)
    return str(met.value)


def test_parts_are_what_the_secret_says_now_and_each_missing_key_is_named(volume: SecretVolume) -> None:
    read = DatabaseParts(PARTS, volume.folder, "shop")
    reported = refused(read)
    assert (
        'the Secret "shop-app" in namespace "shop" does not exist, or lacks "host" and "dbname" and "username"'
        in reported
    )
    volume.show(**{name: text for name, text in ENTRIES.items() if name != "database"})
    reported = refused(read)
    assert 'lacks "dbname"' in reported
    assert "spec.source.connection.secretRef (keys of database)" in reported
    volume.show(**{**ENTRIES, "password": "\n"})
    assert 'lacks "password"' in refused(read)
    for password in ("hunter2", "hunter3\n"):
        volume.show(**{**ENTRIES, "password": password})
        assert conninfo_to_dict(read())["password"] == password.strip()
    volume.show(**{**ENTRIES, "port": "hunter2"})
    with pytest.raises(SweepFailure, match=r'the key "port" of the Secret "shop-app" .*is not a valid port') as failed:
        read()
    assert "hunter2" not in str(failed.value)


def test_a_variable_that_nothing_replaced_names_the_command_that_does(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("${DATABASE_URL}\n")
    for read in (DatabaseUrl(file, "shop-db/url", "shop"), DatabaseFile(file)):
        with pytest.raises(
            SweepFailure, match=r"is the text \$\{DATABASE_URL\}.* envsubst < FILE \| kubectl apply -f -"
        ) as failed:
            read()
        assert failed.value.reason == "UrlInvalid"


def test_a_missing_certificate_is_named_and_used_when_it_comes(volume: SecretVolume) -> None:
    read = DatabaseParts(Parts(secret="a", keys=KEYS, ca=("shop-ca", "ca.crt")), volume.folder, "shop")
    volume.show(**ENTRIES)
    reported = refused(read)
    assert 'no database certificate: the Secret "shop-ca"' in reported
    assert "spec.source.connection.caFrom" in reported
    volume.show(**{**ENTRIES, "ca.crt": "-----BEGIN"})
    found = conninfo_to_dict(read())
    assert found["sslrootcert"] == str(volume.folder / "ca.crt")
    assert found["sslmode"] == "verify-full"


def test_a_password_file_stands_beside_what_the_spec_gives(tmp_path: Path) -> None:
    file = tmp_path / "token"
    parts = Parts(host="db", database="shop", username="iam", password_file=str(file))
    read = DatabaseParts(parts, tmp_path / "nothing", "shop")
    assert f"the file {file} (spec.source.connection.passwordFile) is missing or empty" in refused(read)
    for token in ("db:5432/?Action=connect&X-Amz-Signature=1%2F", "another"):
        file.write_text(token)
        assert conninfo_to_dict(read())["password"] == token
    assert read.refreshed


def test_another_volume_in_the_place_of_the_secret_is_named_by_its_own_name(tmp_path: Path) -> None:
    read = DatabaseParts(PARTS, tmp_path, "shop", "iam")
    reported = refused(read)
    assert (
        f'the volume "iam" of spec.worker.podTemplate, mounted at {tmp_path}, does not exist, or lacks "host"'
        in reported
    )
    assert '"database"' in reported  # the file's name, not the Secret's key
    for name, text in ENTRIES.items():
        (tmp_path / name).write_text(text)
    assert conninfo_to_dict(read())["dbname"] == "shop"
    assert read.refreshed


def test_a_file_with_a_url_is_read_at_each_use(tmp_path: Path) -> None:
    read = DatabaseFile(tmp_path / "url")
    assert f"the file {tmp_path / 'url'}" in refused(read)
    for url in ("postgresql://a:1@db/x", "postgresql://a:2@db/x"):
        (tmp_path / "url").write_text(f"{url}\n")
        assert read() == url
    # Other files of the container beside it are ignored.
    (tmp_path / "other").write_bytes(b"\xff")
    assert read() == "postgresql://a:2@db/x"


def test_a_file_that_the_worker_may_not_read_says_what_its_writer_should_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbid)
    assert "cannot be read: Permission denied. Make it readable for the worker's user" in refused(
        DatabaseFile(tmp_path)
    )


def test_user_and_password_of_a_secret_are_of_one_moment(volume: SecretVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    volume.show(username="old", password="old")
    read_text, swaps = database_url.read_text, iter([True])

    def slow(file: Path, field: str) -> str:
        text = read_text(file, field)
        if file.name == "username" and next(swaps, False):
            volume.show(username="new", password="new")
        return text

    monkeypatch.setattr(pods, "read_text", slow)
    assert read_together(volume.folder, ("username", "password")) == {"username": "new", "password": "new"}
    assert next(swaps, None) is None
    assert os.readlink(volume.folder / "..data") == "..2"


def test_the_environment_names_one_of_the_three_ways(tmp_path: Path) -> None:
    file = {"KUBESWEEP_DATABASE_URL_FILE": str(tmp_path / "url")}
    assert isinstance(pod_database({**file, "KUBESWEEP_DATABASE_SECRET": "db/url"}, "shop"), DatabaseUrl)
    assert isinstance(pod_database(file, "shop"), DatabaseFile)
    text = msgspec.json.encode(PARTS).decode()
    parts = {"KUBESWEEP_DATABASE_CONNECTION": text, "KUBESWEEP_DATABASE_DIR": str(tmp_path)}
    assert isinstance(pod_database(parts, "shop"), DatabaseParts)
    for bad in ({}, {"KUBESWEEP_DATABASE_CONNECTION": text}):
        with pytest.raises(SpecError, match="is not set"):
            pod_database(bad, "shop")
    with pytest.raises(SpecError, match="of different versions"):
        pod_database({**parts, "KUBESWEEP_DATABASE_CONNECTION": '{"later":1}'}, "shop")


@pytest.mark.parametrize(("refreshed", "kind"), [(True, Outage), (False, SweepFailure)])
async def test_a_refused_password_that_something_refreshes_is_waited_for(
    refreshed: bool, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ReconnectingSource(pod_plan(), lambda: "sqlite:////nowhere", "Look there.", refreshed=refreshed)

    async def refuse(_: object) -> None:
        raise SweepFailure("AuthenticationFailed", "the password is too old")

    with pytest.raises(kind, match=r"too old\. Look there\.$") as met:
        await source._call(refuse)
    assert getattr(met.value, "reason", "") == "AuthenticationFailed"
    await source.close()
