"""When a namespace's Secret is written: the controller has no permission to read it."""

from __future__ import annotations

import pytest

from kubesweep_controller.queue.credentials import REWRITE_SECONDS, SUSPECT_SECONDS, QueueCredentials
from kubesweep_controller.settings import from_environment
from tests.kits.controller import Recorder

ENVIRONMENT = {
    "KUBESWEEP_QUEUE": "redis://:sesame@redis.example:6379/0",
    "KUBESWEEP_WORKER_IMAGE": "worker:1",
    "POD_NAMESPACE": "kubesweep",
    "POD_NAME": "kubesweep-0",
}


@pytest.mark.parametrize(
    ("passed", "recheck", "times"),
    [
        (REWRITE_SECONDS - 1, False, 1),
        (REWRITE_SECONDS, False, 2),
        (SUSPECT_SECONDS - 1, True, 1),
        (SUSPECT_SECONDS, True, 2),
    ],
)
async def test_a_secret_is_written_again_periodically_and_sooner_while_jobs_wait(
    passed: float, recheck: bool, times: int
) -> None:
    time, client = [0.0], Recorder()
    credentials = QueueCredentials(from_environment(ENVIRONMENT), "abcd1234", client, clock=lambda: time[0])
    await credentials.ensure("shop")
    time[0] += passed
    await credentials.ensure("shop", recheck=recheck)
    assert client.written == ["shop/kubesweep-queue"] * times
