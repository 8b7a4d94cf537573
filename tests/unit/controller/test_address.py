"""The queue's address for pods and for KEDA never contains a password."""

from __future__ import annotations

import pytest

from kubesweep import SpecError
from kubesweep_controller.queue_address import QueueAddress


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://admin:secret@h:1/2", "redis://ks@h:1/2?password_file=/run/kubesweep/queue/password"),
        (
            "rediss://:secret@h?ssl_ca_certs=/run/ca.crt&socket_timeout=9",
            "rediss://ks@h:6379/0?password_file=/run/kubesweep/queue/password"
            "&ssl_ca_certs=/run/kubesweep/queue/ca.crt&socket_timeout=9",
        ),
        (
            "redis+sentinel://u:p@a:1,b:2/main?db=3&sentinel_username=s&sentinel_password=t",
            "redis+sentinel://ks@a:1,b:2/main?password_file=/run/kubesweep/queue/password&sentinel_username=s"
            "&sentinel_password_file=/run/kubesweep/queue/sentinelPassword&db=3",
        ),
        ("redis+cluster://u:p@a,b:7", "redis+cluster://ks@a:6379,b:7/?password_file=/run/kubesweep/queue/password"),
    ],
)
def test_pods_get_an_address_without_any_password(given: str, made: str) -> None:
    assert QueueAddress.of(given).pod_url("ks") == made
    assert "secret" not in made


@pytest.mark.parametrize(
    "url", ["sqlite:///queue.db", "unix:///run/redis.sock", "redis+other://h", "rediss://h?ssl_certfile=/a"]
)
def test_a_queue_that_pods_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(SpecError) as refused:
        QueueAddress.of(url)
    assert refused.value.code == "QueueUrl"
