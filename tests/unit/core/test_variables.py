"""``${NAME}`` in the stringData of a Secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesweep import SpecErrors, load
from kubesweep.api.loading.variables import VariableError, check_unbraced, expand
from kubesweep.api.secret_values import check_url
from tests.unit.core.spec_files import SCHEDULE, SECRET, save, schedule

SECRETS = {"PASSWORD": "hunter2", "EMPTY": "", "NESTED": "${PASSWORD}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${PASSWORD}", "hunter2"),
        ("a:${PASSWORD}@b/${PASSWORD}", "a:hunter2@b/hunter2"),
        ("$PASSWORD $5 $ $$", "$PASSWORD $5 $ $$"),
        ("$${PASSWORD}", "${PASSWORD}"),
        ("$$${PASSWORD}", "$${PASSWORD}"),
        ("${NESTED}", "${PASSWORD}"),
        ("", ""),
    ],
)
def test_only_braces_are_replaced_and_only_once(text: str, expected: str) -> None:
    assert expand(text, SECRETS) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("${UNSET}", "VariableUnset"),
        ("${EMPTY}", "VariableUnset"),
        ("${}", "BadVariable"),
        ("${PASSWORD:-x}", "BadVariable"),
        ("${1}", "BadVariable"),
        ("${PASSWORD", "BadVariable"),
    ],
)
def test_anything_else_in_braces_is_refused(text: str, code: str) -> None:
    with pytest.raises(VariableError) as error:
        expand(text, SECRETS)
    assert error.value.code == code
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["$DATABASE_URL", "postgresql://a:$PGPASSWORD@db/x", "postgresql://a@$HOST/x", "postgresql://a@db/$NAME"]
)
def test_a_variable_without_braces_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"\$\{|%24"):
        check_unbraced(url)


@pytest.mark.parametrize(
    "url", ["postgresql://a:pa$$word@db/x", "postgresql://a:$ecret@db/x", "postgresql://a:x$ABC@db/x"]
)
def test_a_dollar_in_a_password_is_none(url: str) -> None:
    check_unbraced(url)


@pytest.mark.parametrize("url", ["${DATABASE_URL}", "postgresql://a:${PASSWORD}@db/x"])
def test_a_url_that_nothing_replaced_names_the_command_that_does(url: str) -> None:
    with pytest.raises(ValueError, match="envsubst") as error:
        check_url(url)
    assert "PASSWORD" not in str(error.value)


def test_a_file_is_read_with_the_variables_of_the_environment(tmp_path: Path) -> None:
    file = save(tmp_path, SCHEDULE, {**SECRET, "stringData": {"url": "postgresql://a:${PASSWORD}@db/x"}})
    [one] = load([file], environ=SECRETS)
    assert one.url == "postgresql://a:hunter2@db/x"
    assert "hunter2" not in repr(one)


def test_a_variable_that_is_missing_is_reported_once_at_its_line(tmp_path: Path) -> None:
    file = save(tmp_path, schedule("a"), schedule("b"), {**SECRET, "stringData": {"url": "${UNSET}"}})
    with pytest.raises(SpecErrors) as error:
        load([file], environ=SECRETS)
    [problem] = error.value.problems
    assert (problem.code, problem.path) == ("VariableUnset", "stringData.url")
    assert file.read_text().splitlines()[problem.line - 1].strip() == "url: ${UNSET}"


def test_with_a_given_url_its_variable_may_be_missing(tmp_path: Path) -> None:
    entries = {"url": "${UNSET}", "X-Key": "${PASSWORD}"}
    hook = {"webhook": {"url": "https://a/", "headersFrom": {"secretRef": {"name": "hook"}}}}
    documents = (
        schedule("a", effect=hook),
        {**SECRET, "stringData": {"url": entries["url"]}},
        {**SECRET, "metadata": {"name": "hook"}, "stringData": {"X-Key": entries["X-Key"]}},
    )
    [one] = load([save(tmp_path, *documents)], url="sqlite:///a.db", environ=SECRETS)
    assert (one.url, one.headers) == ("sqlite:///a.db", {"X-Key": "hunter2"})


def test_data_and_entries_that_nothing_reads_are_left_alone(tmp_path: Path) -> None:
    file = save(tmp_path, SCHEDULE, {**SECRET, "stringData": {**SECRET["stringData"], "other": "${UNSET}"}})
    assert load([file], environ={})[0].url == SECRET["stringData"]["url"]
