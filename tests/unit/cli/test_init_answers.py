"""``kubesweep init``: how the texts of answers are read."""

from __future__ import annotations

import pytest

from kubesweep_cli.init.answers import (
    Action,
    Condition,
    Period,
    Write,
    parse_action,
    parse_age,
    parse_condition,
    parse_name,
    parse_period,
    parse_sets,
    parse_table,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("carts", (None, "carts")),
        ("public.Carts", ("public", "Carts")),
        ('"App"."a.b"', ("App", "a.b")),
        ('public."say ""hi"""', ("public", 'say "hi"')),
        ("a b", (None, "a b")),
    ],
)
def test_a_table_may_have_a_schema_and_quotes(text: str, expected: tuple[str | None, str]) -> None:
    assert parse_table(text) == expected


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a.b.c", '"a', 'a"b', '"a"b'])
def test_anything_else_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=r"TABLE or SCHEMA\.TABLE"):
        parse_table(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", ""), ("now", ""), ("0s", ""), ("30d", "30d"), ("now-1h30m", "1h30m")]
)
def test_an_age_is_a_duration_or_nothing(text: str, expected: str) -> None:
    assert parse_age(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status=idle", Condition("status", ("idle",))),
        (" status = idle, open ,idle", Condition("status", ("idle", "open"))),
        ("note is null", Condition("note", is_null=True)),
        ("note IS NOT NULL", Condition("note", is_null=False)),
    ],
)
def test_a_condition_has_values_or_null(text: str, expected: Condition) -> None:
    assert parse_condition(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delete", Action(Write())),
        ("archive app.kept", Action(Write(archive=("app", "kept")))),
        ("status=closed, closed_at=now", Action(Write((("status", "closed"), ("closed_at", "now"))))),
        ("note=a, b", Action(Write((("note", "a, b"),)))),
        ("note=", Action(Write((("note", ""),)))),
        ("webhook https://example.com/a?b=c", Action(webhook="https://example.com/a?b=c")),
        ("handler shop.sweeps:close", Action(handler="shop.sweeps:close")),
    ],
)
def test_one_line_says_what_happens(text: str, expected: Action) -> None:
    assert parse_action(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_condition, "status"),
        (parse_condition, "=a"),
        (parse_condition, "status="),
        (parse_action, ""),
        (parse_action, "deleted"),
        (parse_action, "archive"),
        (parse_action, "=a"),
        (lambda text: parse_sets([text]), "a=1, a=2"),
        (parse_age, "30"),
        (parse_period, "1s"),
        (parse_period, "2d"),
        (parse_period, "0 25 * * *"),
        (parse_name, "A"),
        (parse_name, "a" * 46),
    ],
)
def test_what_cannot_be_read_is_explained(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=r"\w+"):
        read(text)


def test_a_period_is_a_duration_or_cron() -> None:
    assert parse_period("every 5m") == Period("every", "5m")
    assert parse_period("@daily") == Period("schedule", "@daily")
