"""Which bounds a sweep exceeds, and the sentence about it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubesweep import SweepSchedule, compile_plan
from kubesweep.api.baseline import baseline_of
from kubesweep.api.plan import (
    Archive,
    Assignment,
    Effect,
    Match,
    Plan,
    RowLimits,
    Session,
    Source,
    Webhook,
    Write,
)
from kubesweep.queue.model import Baseline, Database, PlanVersion, Sweep, SweepState
from kubesweep_worker.jobs.approval_rules import (
    LEAST_MEDIAN,
    MIN_SWEEPS,
    Cause,
    bounds_of,
    changes,
    rows_found,
    sentence,
)
from tests.kits.worker import a_plan

ROWS = st.integers(0, 10**9)
HERE = Database("7291/shop/16384", 1)


def limits(rows: int | None = None, share: int | None = None, times: int | None = None) -> RowLimits:
    return RowLimits(approve_above_rows=rows, approve_above_share=share, approve_above_times_median=times)


def exceeded(limit: RowLimits, stale: int, table: int | None = 0, found: tuple[int, ...] = ()) -> list[Cause]:
    return [bound.exceeded(stale) for bound in bounds_of(limit, table, found) if stale > bound.most]


@given(most=ROWS, stale=ROWS)
def test_rows_are_compared_as_they_are(most: int, stale: int) -> None:
    assert bool(exceeded(limits(rows=most), stale)) is (stale > most)


@given(table=ROWS, share=st.integers(1, 100), stale=ROWS)
def test_a_share_is_exceeded_exactly_where_it_is_larger(table: int, share: int, stale: int) -> None:
    assert bool(exceeded(limits(share=share), stale, table)) is (100 * stale > share * table)


@given(share=st.integers(1, 100), stale=ROWS)
def test_any_stale_row_exceeds_the_share_of_a_table_of_unknown_size(share: int, stale: int) -> None:
    assert [each.reason for each in exceeded(limits(share=share), stale, None)] == ["TableSizeUnknown"] * (stale > 0)


@given(found=st.lists(ROWS, max_size=10), times=st.integers(2, 1000), stale=ROWS)
def test_a_median_needs_three_sweeps_and_has_a_floor(found: list[int], times: int, stale: int) -> None:
    above = exceeded(limits(times=times), stale, found=tuple(found))
    if len(found) < MIN_SWEEPS or stale <= times * LEAST_MEDIAN:
        assert above == []
    if above:
        assert stale > times * sorted(found)[(len(found) - 1) // 2]


@pytest.mark.parametrize(
    ("limit", "stale", "table", "found", "text"),
    [
        (limits(rows=5), 12, 0, (), "more than 5 (limits.approveAbove.rows)"),
        (limits(share=5), 41_200, 108_000, (), "38 % of the table (limits.approveAbove.share: 5 %)"),
        (limits(share=5), 5_001, 100_000, (), "more than 5 % of the table (limits.approveAbove.share: 5 %)"),
        (
            limits(times=10),
            41_200,
            0,
            (1000, 900, 1100),
            "41 times the median of the last 3 sweeps (1,000 rows; limits.approveAbove.timesMedian: 10)",
        ),
        (
            limits(times=10),
            10_001,
            0,
            (1000, 900, 1100),
            "more than 10 times the median of the last 3 sweeps (1,000 rows; limits.approveAbove.timesMedian: 10)",
        ),
        (
            limits(times=2),
            500,
            0,
            (1, 1, 1),
            "5 times the median of the last 3 sweeps (1 row, which counts as 100; limits.approveAbove.timesMedian: 2)",
        ),
    ],
)
def test_the_text_has_the_numbers(limit: RowLimits, stale: int, table: int, found: tuple[int, ...], text: str) -> None:
    assert [each.text for each in exceeded(limit, stale, table, found)] == [text]


def test_every_bound_that_is_exceeded_is_named() -> None:
    above = exceeded(limits(10, 5, 3), 400, 1000, (50, 50, 50))
    assert [each.reason for each in above] == ["AboveApprovalLimit", "AboveApprovalShare", "AboveApprovalMedian"]
    text = sentence([Cause("PredicateChanged", "match differs from the last sweep's")], above[:2], 400, exact=True)
    assert text == (
        "match differs from the last sweep's; 400 rows are stale: more than 10 (limits.approveAbove.rows), "
        "40 % of the table (limits.approveAbove.share: 5 %). Nothing was changed"
    )
    assert sentence([], above[:1], 11, exact=False).startswith("at least 11 rows are stale: ")
    assert sentence([], above[:1], 1, exact=True).startswith("1 row is stale: ")


def past(planned: int, state: SweepState = SweepState.COMPLETED, **changes: object) -> Sweep:
    return Sweep(id="s", tick=0.0, plan=PlanVersion(0, ""), state=state, planned=planned, started=10.0, **changes)  # type: ignore[arg-type]


def test_only_completed_sweeps_of_the_same_predicate_are_a_measure() -> None:
    history = [
        past(7),
        past(5, capped=True, stale=900),
        past(6, stale=5000, estimated=True),
        past(0),
        past(1, SweepState.FAILED),
        past(2, mode="DryRun"),
    ]
    assert rows_found(history, since=10.0) == [7, 900, 6, 0]
    assert rows_found(history, since=10.5) == []


def of(plan: Plan, database: Database = HERE) -> Baseline:
    return baseline_of(plan, database, 10.0)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (a_plan(match=(Match("in", "status", ("old", "older")),)), "match differs"),
        (a_plan(source=Source(table="rows", naive_time_zone="Europe/Lisbon")), "match differs"),
        (a_plan(source=Source(table="rows", session=Session(search_path=("a",)))), "match differs"),
        (a_plan(source=Source(table="others")), "source.table differs"),
        (a_plan(source=Source(table="rows", schema="archive")), "source.table differs"),
        (a_plan(write=Write()), "write (update -> delete) differs"),
        (a_plan(write=Write(archive=Archive("old"))), "write (update -> archive) differs"),
        (
            a_plan(write=None, effect=Effect(handler="a:b")),
            "write (update -> none) and effect (none -> handler) differ",
        ),
        (a_plan(effect=Effect(webhook=Webhook("https://h.example"))), "effect (none -> webhook) differs"),
    ],
)
def test_what_decides_which_rows_are_touched_is_another_predicate(plan: Plan, text: str) -> None:
    (cause,) = changes(of(plan), of(a_plan()))
    assert (cause.reason, cause.text) == ("PredicateChanged", f"{text} from the last sweep's")


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(limits=RowLimits(batch_rows=7, max_rows_per_sweep=9, approve_above_share=5)),
        a_plan(source=Source(table="rows", key=("id",), lock_timeout=9.0, statement_timeout=1.0)),
        a_plan(write=Write(update=(Assignment("status", "other"),))),
        a_plan(mode="DryRun", generation=9, halt_above=3, concurrency=9, uid="another", name="another"),
    ],
)
def test_pace_limits_key_and_values_are_the_same_predicate(plan: Plan) -> None:
    assert changes(of(plan), of(a_plan())) == []


SPELLED = """
- {column: status, in: [pending, "17"]}
- {column: kind, notIn: [b, a]}
- {column: at, before: now-1d}
- {sql: "t.a <> 'x  y' AND t.b"}
"""


def predicate_of(conditions: str, **source: str) -> Baseline:
    spec = {
        "every": "5m",
        "source": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "table": "rows", **source},
        "match": yaml.safe_load(conditions),
        "write": {"delete": {}},
    }
    head = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "x"}}
    return of(compile_plan(SweepSchedule.model_validate({**head, "spec": spec})))


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("in: [pending, \"17\"]", "in: [17, pending]", True),
        ("in: [pending, \"17\"]", "in: [pending, 17, pending]", True),
        ("column: status, in: [pending, \"17\"]", "in: ['17', 'pending'], column: \"status\"", True),
        ("notIn: [b, a]", "notIn: [a, b, b]", True),
        ("now-1d", "now-24h", True),
        ("now-1d", "now-23h60m0s", True),
        ("- {column: kind, notIn: [b, a]}\n- {column: at, before: now-1d}",
         "- {column: at, before: now-1d}\n- {column: kind, notIn: [b, a]}\n- {column: at, before: now-24h}", True),
        ("'x  y' AND t.b", "'x  y'   AND /* why */ t.b ", True),
        ("in: [pending, \"17\"]", "in: [pending, \"017\"]", False),
        ("in: [pending, \"17\"]", "notIn: [pending, \"17\"]", False),
        ("'x  y'", "'x y'", False),
        ("now-1d", "now-25h", False),
        ("- {column: at, before: now-1d}\n", "", False),
    ],
)  # fmt: skip
def test_another_spelling_of_the_same_conditions_is_the_same_predicate(before: str, after: str, same: bool) -> None:
    assert before in SPELLED
    edited = SPELLED.replace(before, after)
    assert (predicate_of(edited).match == predicate_of(SPELLED).match) is same


def test_a_default_that_is_written_out_is_the_same_predicate() -> None:
    assert predicate_of(SPELLED, naiveTimeZone="UTC").match == predicate_of(SPELLED).match
    assert predicate_of(SPELLED, naiveTimeZone="Europe/Lisbon").match != predicate_of(SPELLED).match


def test_hashes_are_those_of_earlier_versions() -> None:
    """A change would hold a sweep of each schedule with limits.approveAbove, after every upgrade."""
    plan = a_plan(match=(Match("in", "status", ("old",)), Match("before", "at", offset=1800)))
    assert (of(plan).table, of(plan).match) == ("2fb5f9fe442c28a8", "12630af1dc39de4c")
    again = Plan.from_json(plan.to_json())
    assert of(again) == of(plan)


def test_another_database_is_named_and_another_timeline_is_the_same_database() -> None:
    (cause,) = changes(of(a_plan(), Database("8100/shop/16384", 1)), of(a_plan()))
    assert (cause.reason, "8100/shop/16384" in cause.text) == ("OtherDatabase", True)
    promoted = of(a_plan(), Database(HERE.name, 2))
    assert changes(promoted, of(a_plan())) == []
    assert promoted.follows(of(a_plan()))
    assert promoted.continues(of(a_plan()))
    assert not of(a_plan(), Database(HERE.name)).follows(of(a_plan()))


@given(st.text(max_size=1000))
def test_the_name_of_a_database_is_bounded_and_distinct(name: str) -> None:
    if name.isprintable():
        assert len(Database.of(name).name.encode()) <= 400
        assert Database.of(name + "x").name != Database.of(name).name
