"""The names of a schedule's keys are remembered for a limited number of schedules."""

from __future__ import annotations

from kubesweep.queue.redis.scripts import KEY_NAMES, keys


def test_the_key_names_of_ten_thousand_schedules_do_not_stay_in_memory() -> None:
    names = {keys(f"{{ks:i/n/schedule-{number}/u}}") for number in range(10_000)}
    assert len(names) == 10_000
    assert {len(each) for each in names} == {len(KEY_NAMES)}
    assert keys.cache_info().currsize <= 1000
