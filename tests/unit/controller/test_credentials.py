"""When a namespace's Secret is written: nobody may look whether it is there."""

from __future__ import annotations

import pytest

from kubesweep_controller.queue.credentials import AGAIN, SOON, Logins
from kubesweep_controller.settings import from_environment
from tests.kits.controller import Recorder

ENVIRONMENT = {
    "KUBESWEEP_QUEUE": "redis://:sesame@redis.example:6379/0",
    "KUBESWEEP_WORKER_IMAGE": "worker:1",
    "POD_NAMESPACE": "kubesweep",
    "POD_NAME": "kubesweep-0",
}


@pytest.mark.parametrize(
    ("passed", "doubtful", "times"),
    [
        (AGAIN - 1, False, 1),
        (AGAIN, False, 2),
        (SOON - 1, True, 1),
        (SOON, True, 2),
    ],
)
async def test_a_secret_is_written_again_hourly_and_soon_where_nobody_does_the_work_that_waits(
    passed: float, doubtful: bool, times: int
) -> None:
    time, api = [0.0], Recorder()
    logins = Logins(from_environment(ENVIRONMENT), "abcd1234", api, clock=lambda: time[0])
    await logins.ensure("shop")
    time[0] += passed
    await logins.ensure("shop", doubtful=doubtful)
    assert api.written == ["shop/kubesweep-queue"] * times
