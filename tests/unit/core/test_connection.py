"""A connection given by its parts: libpq gets exactly these values, and a local run finds them as a cluster does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from kubesweep import Loaded, SpecErrors, load
from kubesweep.api.database_url import PARAMETERS, Parts, compose, database_host, missing
from kubesweep.errors import Outage, SweepFailure
from kubesweep_worker.sources.postgres.connection_url import check_url

KEYS = {"host": "host", "port": "port", "database": "dbname", "username": "username", "password": "password"}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=30)
NASTY = "p@ss/w:rd %41 'q' \"d\" \\ ?#[] &=+"
PARTS = {"host": "db", "dbname": "shop", "username": "sweep", "password": NASTY}


@given(database=TEXT, username=TEXT, password=TEXT, value=TEXT)
def test_every_character_of_every_part_reaches_the_driver(
    database: str, username: str, password: str, value: str
) -> None:
    parts = Parts(secret="db", keys=KEYS, parameters={"options": value})
    url = compose(
        parts, {"host": "db", "port": "6432", "database": database, "username": username, "password": password}
    )
    wanted = {"host": "db", "port": "6432", "dbname": database, "user": username, "password": password}
    assert conninfo_to_dict(url) == {**wanted, "options": value}
    check_url(url)


@pytest.mark.parametrize(
    ("host", "reaches"),
    [
        ("db.example.com", "db.example.com"),
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::1", "::1"),
        ("/run/proxy", "/run/proxy"),
        ("/run/cloud sql/a:b:c", "/run/cloud sql/a:b:c"),
        ("a.example.com,b.example.com", "a.example.com,b.example.com"),
        ("db,[::1]\n", "db,::1"),
        ("datenbank-ü.example", "datenbank-ü.example"),
    ],
)
def test_hosts_of_every_kind_reach_the_driver(host: str, reaches: str) -> None:
    for parts, found in ((Parts(host=host), {}), (Parts(keys={"host": "host"}), {"host": host})):
        url = compose(parts, {"database": "shop", "username": "sweep", **found})
        assert conninfo_to_dict(url) == {"host": reaches, "port": "5432", "dbname": "shop", "user": "sweep"}


@pytest.mark.parametrize(
    "host", ["db:5432", "postgresql://a:hunter2@db/x", "a b", "", "db,,x", "1.2.3.4.5", "::1::", "a/b", "u@db"]
)
def test_what_is_no_host_is_refused_without_being_shown(host: str) -> None:
    with pytest.raises(ValueError, match=r"write the host|not an IPv|characters|two dots") as refused:
        database_host(host)
    assert "hunter2" not in str(refused.value)


def test_a_line_that_an_editor_ended_is_the_same_password_and_a_blank_belongs_to_it() -> None:
    for text, password in (("x\n", "x"), ("x\r\n", "x"), (" x ", " x "), ("x\ny\n", "x\ny")):
        url = compose(Parts(host="db", database="d", username="u"), {"password": text})
        assert conninfo_to_dict(url)["password"] == password


def test_a_certificate_is_checked_unless_the_spec_says_otherwise() -> None:
    base: dict[str, Any] = {"host": "db", "database": "d", "username": "u"}
    found = conninfo_to_dict(compose(Parts(**base), {}, Path("/run/ca.crt")))
    assert (found["sslrootcert"], found["sslmode"]) == ("/run/ca.crt", "verify-full")
    chosen = Parts(**base, parameters={"sslmode": "verify-ca"})
    assert conninfo_to_dict(compose(chosen, {}, Path("/run/ca.crt")))["sslmode"] == "verify-ca"
    assert "sslmode" not in conninfo_to_dict(compose(Parts(**base), {}))


def test_only_a_port_may_be_missing_and_an_empty_part_is_missing() -> None:
    parts = Parts(secret="db", keys=KEYS)
    assert missing(parts, {}) == ["host", "database", "username", "password"]
    assert missing(parts, {"host": "a", "database": "b", "username": "c", "password": "\n"}) == ["password"]


def test_the_parameters_are_supported_by_the_driver_and_none_is_a_secret_or_a_part() -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    hidden = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"}
    assert {"password", "sslpassword"} <= hidden
    assert set(PARAMETERS) <= known - hidden - {"host", "port", "dbname", "user", "passfile", "service"}


# What operators put into their Secrets (CloudNativePG, Zalando's, Crunchy's, Crossplane's and an RDS secret), and what a spec says with it.
CNPG = {**PARTS, "port": "5432", "user": "sweep", "uri": "postgresql://...", "pgpass": "db:5432:shop:sweep:..."}
OPERATORS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "cloudnative-pg": (CNPG, {}),
    "zalando": ({"username": "sweep", "password": NASTY}, {"host": "db", "database": "shop"}),
    "crunchy": ({**CNPG, "username": "other"}, {"keys": {"username": "user"}}),
    "crossplane": (
        {"endpoint": "db", "port": "5432", "username": "sweep", "password": NASTY},
        {"database": "shop", "keys": {"host": "endpoint"}},
    ),
    "rds": ({**PARTS, "port": "5432", "engine": "postgres"}, {}),
}


def found_by(
    folder: Path, entries: dict[str, str] | None, connection: dict[str, Any], **more: dict[str, str]
) -> Loaded:
    source = {"table": "carts", "connection": connection}
    spec = {"every": "30s", "source": source, "match": [{"column": "a", "isNull": True}], "write": {"delete": {}}}
    documents: list[dict[str, Any]] = [
        {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "carts"}, "spec": spec}
    ]
    for name, data in {**({"db": entries} if entries is not None else {}), **more}.items():
        documents.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    (one,) = load([file])
    return one


@pytest.mark.parametrize("name", OPERATORS)
def test_the_secret_of_an_operator_serves_as_it_is(name: str, tmp_path: Path) -> None:
    entries, said = OPERATORS[name]
    ref = {"name": "db", **({"keys": said["keys"]} if "keys" in said else {})}
    given_beside = {part: value for part, value in said.items() if part != "keys"}
    one = found_by(tmp_path, entries, {"secretRef": ref, **given_beside})
    wanted = {"host": "db", "port": "5432", "dbname": "shop", "user": "sweep", "password": NASTY}
    assert conninfo_to_dict(one.url) == wanted
    assert NASTY not in repr(one)


def test_what_the_spec_gives_counts_before_what_the_secret_has(tmp_path: Path) -> None:
    one = found_by(tmp_path, CNPG, {"secretRef": {"name": "db"}, "host": "pooler", "port": 6432, "database": "other"})
    assert conninfo_to_dict(one.url).items() >= {"host": "pooler", "port": "6432", "dbname": "other"}.items()
    # What the spec gives need not be in the Secret, nor be right there.
    without = {**CNPG, "host": "not a host"}
    assert (
        conninfo_to_dict(found_by(tmp_path, without, {"secretRef": {"name": "db"}, "host": "db"}).url)["host"] == "db"
    )


def test_each_key_that_a_secret_lacks_is_a_problem_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors) as refused:
        found_by(tmp_path, {"user": "sweep", "password": NASTY}, {"secretRef": {"name": "db"}})
    reported = [str(each) for each in refused.value.problems]
    assert [each.code for each in refused.value.problems] == ["SecretKeyMissing"] * 3
    assert all(
        f'the key "{key}" is missing' in text
        for key, text in zip(("host", "dbname", "username"), reported, strict=True)
    )
    assert "write spec.source.connection.database" in reported[1]
    assert NASTY not in str(refused.value)


def test_a_password_file_is_read_at_each_use_and_its_absence_is_reported_then(tmp_path: Path) -> None:
    file = tmp_path / "token"
    one = found_by(tmp_path, None, {"host": "db", "database": "d", "username": "u", "passwordFile": str(file)})
    for text in (None, "", "\n"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(Outage, match=r"no password: .*spec\.source\.connection\.passwordFile") as met:
            _ = one.url
        assert met.value.reason == "UrlMissing"
    for token in ("one", "two&X-Amz-Signature=%2F"):
        file.write_text(token + "\n")
        assert conninfo_to_dict(one.url)["password"] == token
    file.write_bytes(b"\xffhunter2")
    with pytest.raises(SweepFailure, match="not UTF-8"):
        _ = one.url
    file.unlink()
    file.mkdir()
    with pytest.raises(Outage, match="cannot be read"):
        _ = one.url


def test_a_certificate_of_a_secret_becomes_a_file_for_the_driver(tmp_path: Path) -> None:
    connection = {
        "secretRef": {"name": "db"},
        "caFrom": {"secretKeyRef": {"name": "db-ca", "key": "ca.crt"}},
    }
    one = found_by(tmp_path, CNPG, connection, **{"db-ca": {"ca.crt": "-----BEGIN"}})
    found = conninfo_to_dict(one.url)
    folder = Path(str(found["sslrootcert"])).parent
    assert Path(str(found["sslrootcert"])).read_text() == "-----BEGIN"
    assert found["sslmode"] == "verify-full"
    assert one.url == one.url  # another URL would be another source
    del one
    assert not folder.exists()


def test_a_url_in_a_file_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "url"
    spec = {"urlFrom": {"file": str(file)}, "table": "carts"}
    schedule = {
        "apiVersion": "kubesweep.dev/v1alpha1",
        "kind": "SweepSchedule",
        "metadata": {"name": "carts"},
        "spec": {"every": "30s", "source": spec, "match": [{"column": "a", "isNull": True}], "write": {"delete": {}}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(schedule))
    (one,) = load([tmp_path / "sweep.yaml"])
    with pytest.raises(Outage, match=r"spec\.source\.urlFrom\.file\) is missing or empty"):
        _ = one.url
    for url in ("postgresql://a:1@db/x", "postgresql://a:2@db/x"):
        file.write_text(url + "\n")
        assert one.url == url
    file.write_text("mysql://a:hunter2@db/x")
    with pytest.raises(SweepFailure, match="mysql") as refused:
        _ = one.url
    assert "hunter2" not in str(refused.value)
