from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kubesweep.ticks import MACROS, Cron, Every, find_zone, make_ticks

TIMES = st.floats(0, 4e9, allow_nan=False)
ZONES = st.sampled_from(
    ["Etc/UTC", "America/Sao_Paulo", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]
)
CRONS = st.sampled_from(
    ["* * * * *", "*/5 * * * *", "30 2 * * *", "0 0 * * *", "15 1 * * SUN", "0 12 1 * *", "0 0 */2 * 1", "0 0 29 2 *"]
)


def times(ticks: Cron, start: str, hours: float, most: int = 1000) -> list[str]:
    """The ticks after a wall-clock time, as wall-clock times with their offset."""
    zone = ZoneInfo(ticks.time_zone)
    after = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp()
    found = ticks.between(after, after + hours * 3600, most)
    return [datetime.fromtimestamp(each, zone).strftime("%Y-%m-%d %H:%M%z") for each in found]


def test_a_cron_expression_is_read_in_its_zone() -> None:
    assert times(Cron("0 9 * * MON-FRI", "America/Sao_Paulo"), "2026-03-06 00:00", 96) == [
        "2026-03-06 09:00-0300",
        "2026-03-09 09:00-0300",
    ]


def test_a_time_that_summer_time_leaves_out_does_not_fire() -> None:
    assert times(Cron("30 2 * * *", "America/New_York"), "2026-03-07 00:00", 72) == [
        "2026-03-07 02:30-0500",
        "2026-03-09 02:30-0400",
    ]


def test_a_time_that_comes_twice_fires_twice() -> None:
    assert times(Cron("30 1 * * *", "America/New_York"), "2026-11-01 00:00", 24) == [
        "2026-11-01 01:30-0400",
        "2026-11-01 01:30-0500",
    ]


def test_a_midnight_that_does_not_exist_does_not_fire() -> None:
    assert times(Cron("0 0 * * *", "America/Sao_Paulo"), "2018-11-03 12:00", 40) == ["2018-11-05 00:00-0200"]


def test_a_stepped_day_of_month_and_a_weekday_are_alternatives_as_in_kubernetes() -> None:
    assert times(Cron("0 0 */10 * 1"), "2026-03-01 12:00", 14 * 24) == [
        "2026-03-02 00:00+0000",
        "2026-03-09 00:00+0000",
        "2026-03-11 00:00+0000",
    ]


def test_a_plain_star_in_one_day_field_leaves_the_other_to_decide() -> None:
    assert times(Cron("0 0 * * 1"), "2026-03-01 12:00", 14 * 24) == ["2026-03-02 00:00+0000", "2026-03-09 00:00+0000"]


def test_a_day_that_an_island_skipped_has_no_ticks() -> None:
    assert times(Cron("0 */12 * * *", "Pacific/Apia"), "2011-12-29 01:00", 36) == [
        "2011-12-29 12:00-1000",
        "2011-12-31 00:00+1400",
        "2011-12-31 12:00+1400",
    ]


def test_a_question_mark_means_a_star() -> None:
    assert times(Cron("0 0 ? * 1"), "2026-03-01 12:00", 48) == ["2026-03-02 00:00+0000"]


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_each_macro_of_kubernetes_fires(macro: str) -> None:
    assert Cron(macro).next(1.7e9) == Cron(MACROS[macro]).next(1.7e9)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("TZ=UTC 0 0 * * *", "use spec.timeZone"),
        ("cron_tz=UTC 0 0 * * *", "use spec.timeZone"),
        ("@every 5m", "use spec.every"),
        ("@Hourly", "unknown macro"),
        ("0 0 0 * * *", "seconds are not supported"),
        ("* * * *", "4 fields instead of 5"),
        ("", "0 fields instead of 5"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("* * * * 7", "Sunday is 0"),
        ("* * * * 1-7", "Sunday is 0"),
        ("* * L * *", "not valid in Kubernetes"),
        ("* * * * 5#2", "not valid in Kubernetes"),
        ("* * LW * *", "not valid in Kubernetes"),
        ("* * * FOO *", "not valid in Kubernetes"),
        ("9" * 5000 + " * * * *", "longer than"),
        ("0 0 31 2,4,6 *", "bad day-of-month"),
    ],
)
def test_what_kubernetes_refuses_is_refused_here(expression: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Cron(expression)


@settings(max_examples=150, deadline=None)
@given(CRONS, ZONES, st.integers(1_400_000_000, 1_900_000_000))
def test_next_and_latest_agree(expression: str, zone: str, at: int) -> None:
    cron = Cron(expression, zone)
    tick = cron.next(at)
    assert tick is not None
    assert tick > at
    assert cron.latest(tick) == tick
    before = cron.latest(at)
    assert before is not None
    assert before <= at
    assert cron.next(before) == tick


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["30 1 * * *", "30 2 * * *", "*/20 1-3 * * *", "0 0 * * *", "45 * * * *", "7 1,2 * * *"]),
    st.sampled_from(
        [
            ("America/New_York", "2026-03-08"),
            ("America/New_York", "2026-11-01"),
            ("Europe/Berlin", "2026-03-29"),
            ("Europe/Berlin", "2026-10-25"),
            ("America/Sao_Paulo", "2018-11-04"),
            ("America/Sao_Paulo", "2018-02-18"),
            ("Australia/Lord_Howe", "2026-04-05"),
            ("Australia/Lord_Howe", "2026-10-04"),
        ]
    ),
    st.integers(-720, 720),
)
def test_around_a_change_of_clocks_the_ticks_are_the_minutes_whose_wall_clock_fits(
    expression: str, change: tuple[str, str], shift: int
) -> None:
    """Compared with a check of every single minute."""
    zone, day = ZoneInfo(change[0]), datetime.fromisoformat(change[1]).replace(tzinfo=UTC)
    start = day + timedelta(minutes=shift)
    minutes, hours = expression.split()[:2]

    def fits(field: str, value: int) -> bool:
        low, _, high = field.partition("-")
        if field.startswith("*"):
            return value % int(field.removeprefix("*/").replace("*", "1")) == 0
        return int(low) <= value <= int(high) if high else str(value) in field.split(",")

    expected = []
    for minute in range(1, 36 * 60 + 1):
        at = start + timedelta(minutes=minute)
        wall = at.astimezone(zone)
        if fits(minutes, wall.minute) and fits(hours, wall.hour):
            expected.append(at.timestamp())
    begin = start.timestamp()
    cron = Cron(expression, change[0])
    assert list(cron.between(begin, begin + 36 * 3600)) == expected
    assert [cron.latest(each) for each in expected] == expected
    last = cron.latest(begin + 36 * 3600)
    assert last == expected[-1] if expected else last is not None and last <= begin


@given(st.integers(1, 86_400_000), TIMES)
def test_a_period_fires_at_its_multiples_since_the_epoch(milliseconds: int, at: float) -> None:
    every = Every(milliseconds / 1000)
    latest, coming = every.latest(at), every.next(at)
    assert latest <= at < coming
    assert round(latest * 1000) % milliseconds == 0
    assert round((coming - latest) * 1000) == milliseconds
    assert every.latest(coming) == coming


def test_ticks_between_two_times_leave_out_the_first_and_are_bounded() -> None:
    every = Every(5.0)
    assert every.between(10.0, 25.0) == (15.0, 20.0, 25.0)
    assert every.between(10.0, 1e9, most=2) == (15.0, 20.0)
    assert every.between(25.0, 10.0) == ()
    assert Cron("* * * * *").between(0.0, 1e9, most=3) == (60.0, 120.0, 180.0)


def test_times_out_of_any_calendar_have_no_tick() -> None:
    cron = Cron("0 0 1 1 *")
    assert cron.latest(-5.0) is None
    assert cron.next(-1e18) == 0.0
    assert cron.next(1e18) is None
    assert cron.latest(1e18) is not None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("America/Sao_Paolo", "America/Sao_Paulo"),
        ("sao paulo", "America/Sao_Paulo"),
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Local", "write an IANA name|did you mean"),
        ("../../etc/passwd", "write an IANA name|did you mean"),
        ("/etc/localtime", "unknown time zone"),
        ("America", "unknown time zone"),
        ("", "unknown time zone"),
        ("A\0B", "unknown time zone"),
        ("x" * 10_000, "unknown time zone"),
    ],
)
def test_an_unknown_zone_is_refused_and_the_nearest_named(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=nearest) as caught:
        find_zone(name)
    assert len(str(caught.value)) < 250


def test_a_schedule_and_a_period_exclude_each_other() -> None:
    assert make_ticks(every=5.0).next(0.0) == 5.0
    assert make_ticks(schedule="@hourly").next(0.0) == 3600.0
    for wrong in ({}, {"schedule": "* * * * *", "every": 5.0}):
        with pytest.raises(ValueError, match="exactly one"):
            make_ticks(**wrong)  # type: ignore[arg-type]


@given(st.text(alphabet="0123456789*/,-?@ LW#MONJAN", max_size=24))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    try:
        cron = Cron(text)
    except ValueError:
        return
    assume(cron.next(0.0) is not None)
    assert cron.next(0.0) > 0  # type: ignore[operator]
