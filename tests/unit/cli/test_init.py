"""``kubesweep init``: what is asked and proposed, and that the file has exactly what was proposed."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesweep.api.loading.files import load_text
from kubesweep.api.plan import Match
from kubesweep.check_document import StaleCount
from kubesweep.errors import SpecError
from kubesweep_cli.init import defaults
from kubesweep_cli.init.answers import (
    Action,
    Answers,
    Condition,
    Period,
    Write,
    parse_action,
    parse_name,
)
from kubesweep_cli.init.asker import Asker
from kubesweep_cli.init.file_text import file_text
from kubesweep_cli.init.proposal import Field, approval, propose
from kubesweep_cli.init.questions import Given, complete
from kubesweep_cli.shell.terminal import open_terminal
from kubesweep_worker.sources.children import Child
from kubesweep_worker.sources.facts import ColumnFacts, Moment, TableFacts, epoch_unit, listed

URL = "postgresql://sweep:hunter2@db/support"


def column(name: str, moment: Moment = "", **more: Any) -> ColumnFacts:
    return dataclasses.replace(
        ColumnFacts(name, "timestamp with time zone" if moment else "text", moment=moment), **more
    )


def table(*columns: ColumnFacts, **more: Any) -> TableFacts:
    listed_columns = {each.name: each for each in columns}
    first = columns[0].name
    made = TableFacts("postgresql", "carts", listed_columns, schema="app", rows=50, primary=(first,), keys=((first,),))
    return dataclasses.replace(made, **more)


CARTS = table(
    column("id"),
    column("mood", choices=("open", "paid", "closed"), counts={"open": 40, "paid": 10}),
    column("note"),
    column("double_id", writable=False),
    column("created_at", "zoned"),
    column("updated_at", "zoned"),
)
ANSWERS = Answers("updated_at", "30d", "", (Condition("mood", ("open",)),), Action(Write()), Period("every", "5m"), "a")


def answered(facts: TableFacts, **given_: Any) -> Answers:
    return complete(Asker(open_terminal(), interactive=False), facts, Given(**given_))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([column("created_at", "zoned"), column("updated_at", "zoned"), column("expires_at", "zoned")], "expires_at"),
        ([column("created_at", "zoned"), column("last_seen", "zoned")], "last_seen"),
        ([column("updatedAt", "zoned"), column("expiresAt", "zoned", not_null=False)], "expiresAt"),
        ([column("created", "zoned"), column("finished", "zoned", not_null=False)], "finished"),
        ([column("x", "zoned"), column("day", "date")], "x"),
    ],
)
def test_the_name_of_a_time_says_how_likely_it_makes_rows_stale(columns: list[ColumnFacts], expected: str) -> None:
    assert defaults.time_columns(table(*columns))[0].name == expected


@pytest.mark.parametrize(
    ("name", "unread"),
    [
        *[(name, True) for name in ("updated_at", "expiresAt", "created", "due_date", "expiry", "day_on", "TIMESTAMP")],
        *[(name, False) for name in ("note", "format", "description", "region", "candidate", "at_home", "runtime")],
    ],
)
def test_a_column_that_is_only_named_like_a_time_is_found(name: str, unread: bool) -> None:
    assert [each.name for each in defaults.unread_times(table(column("id"), column(name)))] == [name] * unread
    assert defaults.unread_times(table(column(name, "zoned"))) == []


def test_no_status_alone_is_proposed_where_a_column_is_named_like_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    unread = table(column("id"), column("mood", choices=("open", "closed")), column("updated_at"))
    with pytest.raises(SpecError, match=r"add --where COLUMN=VALUE"):
        answered(unread, delete=True)
    assert "no column whose type and values are times. Named like a time: updated_at (text)." in capsys.readouterr().err
    for given_ in ({"where": ("mood=open",)}, {"time": "-"}):
        found = answered(unread, delete=True, **given_)
        assert (found.time, found.where) == (None, (Condition("mood", ("open",)),))


def test_the_age_follows_from_the_name_and_the_period_from_the_age() -> None:
    assert [defaults.age_text(column("expires", "zoned")), defaults.age_text(column("expires", "date"))] == ["0", "1d"]
    assert defaults.age_text(column("updated_at", "zoned")) == "30d"
    assert [defaults.period_text(age) for age in ("", "1h", "1d", "30d")] == ["5m", "5m", "1h", "0 4 * * *"]


def test_a_status_is_set_where_it_has_a_value_for_finished_rows() -> None:
    status = defaults.status_column(CARTS)
    assert status is not None
    assert (status.name, defaults.stale_values(status)) == ("mood", ("open",))
    assert defaults.action_text(CARTS, (Condition("mood", ("open",)),)) == "mood=closed"
    assert defaults.action_text(CARTS, ()) == "delete"
    assert defaults.action_text(CARTS, (Condition("mood", ("open", "closed")),)) == "delete"


def test_a_column_named_status_is_preferred_to_any_other_list() -> None:
    both = table(column("kind", choices=("a", "b")), column("order_status", counts={"x": 1}), column("note"))
    status = defaults.status_column(both)
    assert status is not None
    assert status.name == "order_status"
    assert defaults.status_column(table(column("note", counts={"a": 1}))) is None


@pytest.mark.parametrize(
    ("name", "action", "expected"),
    [
        ("Carts", Action(Write((("status", "Closed"),))), "close-carts"),
        ("orderItems", Action(Write()), "delete-order-items"),
        ("carts", Action(Write(archive=(None, "a"))), "archive-carts"),
        ("carts", Action(handler="a:b"), "process-carts"),
        ("Käufe", Action(Write((("a", "b"),))), "update-k-ufe"),
        ("ü", Action(Write()), "delete-rows"),
        ("x" * 60, Action(Write()), f"delete-{'x' * 38}"),
    ],
)
def test_the_name_has_a_verb(name: str, action: Action, expected: str) -> None:
    assert defaults.name_text(name, action) == expected
    assert parse_name(expected) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"older_than": "30"}, '--older-than AGE: "30" has no unit'),
        ({"time": "updatedat"}, '--time COLUMN: no column "updatedat"; did you mean "updated_at"?'),
        ({"time": "note"}, 'column "note" is text, which is no time; those with times are updated_at, created_at'),
        ({"where": ("mood=opn",)}, '--where: "opn" is no value of column "mood"; did you mean "open"?'),
        ({"where": ("mood",)}, '--where: "mood" is not COLUMN=VALUE'),
        ({"where": ("zzz=1",)}, '--where: no column "zzz"; the columns are id, mood, note, double_id'),
        ({"set": ("double_id=1",)}, '--set: column "double_id" is generated by the database'),
        ({"set": ("note=a",), "delete": True}, "--set, --delete and --archive-to exclude each other"),
        ({"webhook": "https://a", "handler": "a:b"}, "--webhook and --handler exclude each other"),
        ({"delete": True, "every": "1h", "schedule": "@daily"}, "--every and --schedule exclude each other"),
        ({"delete": True, "every": "48h"}, '--every PERIOD: "48h" is not between 5s and 24h'),
        ({"delete": True, "name": "a_b"}, '--name NAME: "a_b" is not a name of Kubernetes'),
        ({"time": "-"}, "add --set, --delete"),
        ({"webhook": "https://a"}, "And then: add --set, --delete or --archive-to."),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        answered(CARTS, **options)
    assert sentence in str(error.value)


def test_without_a_terminal_the_defaults_answer() -> None:
    assert answered(CARTS, set=("mood=closed",)) == Answers(
        "updated_at",
        "30d",
        "",
        (Condition("mood", ("open",)),),
        Action(Write((("mood", "closed"),))),
        Period("schedule", "0 4 * * *"),
        "close-carts",
    )


def test_values_of_one_column_are_one_list() -> None:
    found = answered(CARTS, delete=True, where=("mood=open", "note is null", "mood=paid"))
    assert found.where == (Condition("mood", ("open", "paid")), Condition("note", is_null=True))


def test_the_zone_is_asked_for_times_that_have_none() -> None:
    naive = table(column("id"), column("at", "naive"), time_zone="Asia/Kolkata")
    assert answered(naive, delete=True).time_zone == "Asia/Kolkata"
    assert answered(naive, delete=True, time_zone="UTC").time_zone == "UTC"
    assert answered(dataclasses.replace(naive, time_zone="UTC"), delete=True).time_zone == ""
    assert answered(dataclasses.replace(naive, time_zone="<+03>-03"), delete=True).time_zone == "UTC"
    assert answered(dataclasses.replace(CARTS, time_zone="Asia/Kolkata"), delete=True).time_zone == ""


def test_a_delete_that_changes_other_tables_is_accepted_explicitly() -> None:
    child = Child("fk", "items", "CASCADE")
    parents = dataclasses.replace(CARTS, children=(child, Child("r", "bills", "RESTRICT")))
    with pytest.raises(SpecError, match="add --accept-children"):
        answered(parents, delete=True)
    assert answered(parents, delete=True, accept_children=True).accept_children
    assert not answered(parents, set=("mood=closed",), accept_children=True).accept_children
    assert not answered(CARTS, delete=True, accept_children=True).accept_children


def loaded(facts: TableFacts, answers: Answers) -> tuple[Match, ...]:
    [one] = load_text(file_text(propose(facts, answers, "${DATABASE_URL}")), "a.yaml", environ={"DATABASE_URL": URL})
    assert one.url == URL
    return one.plan.match


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ("mood=closed", None),
        ("note=done", Match("notIn", "note", ("done",))),
        ("note=null", Match("isNull", "note", is_null=False)),
        ("created_at=now", Match("isNull", "created_at")),
    ],
)
def test_a_row_that_is_written_no_longer_matches(sets: str, expected: Match | None) -> None:
    found = loaded(CARTS, dataclasses.replace(ANSWERS, action=parse_action(sets)))
    assert found[2:] == ((expected,) if expected else ())


def test_a_key_is_written_only_if_it_is_not_the_primary_one() -> None:
    other = dataclasses.replace(CARTS, primary=(), keys=(("note",),))
    assert "key" not in file_text(propose(CARTS, ANSWERS, "u")).partition("source:")[2].partition("match:")[0].replace(
        "key: url", ""
    ).replace("secretKeyRef", "")
    assert "key: [note]" in file_text(propose(other, ANSWERS, "u"))


@pytest.mark.parametrize(
    ("stale", "rows"),
    [(0, 1000), (499, 1000), (501, 1100), (40_000, 80_000), (100_000, 200_000)],
)
def test_a_sweep_of_twice_as_many_rows_awaits_approval(stale: int, rows: int) -> None:
    assert approval(StaleCount(rows=stale)).value == rows


@pytest.mark.parametrize("stale", [StaleCount(rows=100_000, more=True), None], ids=["more", "not counted"])
def test_where_it_is_unknown_how_many_match_the_first_sweep_may_await_approval(stale: StaleCount | None) -> None:
    found = approval(stale)
    assert found.value == 100_000
    assert "maybe the first one too" in found.why


NAMES = st.text(min_size=1, max_size=20).filter(
    lambda text: (
        "\0" not in text and len(text.encode(errors="replace")) <= 63 and text.isprintable() | (text.strip() != "")
    )
)
UNICODE = NAMES.filter(lambda text: not any(0xD800 <= ord(character) <= 0xDFFF for character in text))


@settings(deadline=None, max_examples=200)
@given(
    UNICODE,
    UNICODE,
    st.lists(
        UNICODE | st.sampled_from(["yes", "n", "1", "1e3", "0x1", "null", "~", "# a", "a: b"]), min_size=1, max_size=3
    ),
    st.text(alphabet=string.printable, max_size=20),
)
def test_what_the_file_has_is_what_was_proposed(name: str, where: str, values: list[str], note: str) -> None:
    facts = table(column(name), column(where, counts={note: 3}), column("at", "zoned"), schema=name)
    answers = dataclasses.replace(ANSWERS, time="at", where=(Condition(where, tuple(values)),))
    proposal = propose(facts, answers, "${DATABASE_URL}")
    text = file_text(proposal, approve=Field(1000, note))
    [one] = load_text(text, "a.yaml", environ={"DATABASE_URL": URL})
    assert (one.plan.source.schema, one.plan.match[0]) == (name, Match("in", where, tuple(sorted(set(values)))))
    assert one.plan.limits.approve_above_rows == 1000


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("CHECK ((status = ANY (ARRAY['a'::text, 'it''s'::text])))", ("a", "it's")),
        (
            "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            ("a", "b"),
        ),
        ("(status IN ('a', 'b', 'a'))", ("a", "b")),
        ("CHECK ((length(status) > 3))", ()),
    ],
)
def test_a_check_constraint_lists_values(definition: str, expected: tuple[str, ...]) -> None:
    assert listed(definition) == expected


def test_numbers_are_times_by_name_and_size() -> None:
    assert epoch_unit("seen_at", [1.7e9]) == "seconds"
    assert epoch_unit("expiresMs", [1.7e12]) == "milliseconds"
    assert epoch_unit("amount", [1.7e9]) == ""
    assert epoch_unit("version", [3.0]) == ""
