"""How the manager connects its parts."""

from __future__ import annotations

from kubesweep_controller.health import Health
from kubesweep_controller.kube.client import KubeClient
from kubesweep_controller.kube.kubeconfig import Kubeconfig
from kubesweep_controller.manager import Manager
from kubesweep_controller.metrics import Metrics
from kubesweep_controller.settings import from_environment

NOWHERE = "http://127.0.0.1:1"
ENVIRONMENT = {
    "KUBESWEEP_QUEUE": "redis://127.0.0.1:1",
    "KUBESWEEP_WORKER_IMAGE": "image",
    "POD_NAMESPACE": "ns",
    "POD_NAME": "pod",
}


async def test_an_outage_of_the_queue_is_exported_before_the_first_schedule_exists() -> None:
    client, metrics = KubeClient(Kubeconfig(NOWHERE)), Metrics()
    manager = Manager(
        from_environment(ENVIRONMENT), Kubeconfig(NOWHERE), client, "install0", Health(max_age=1.0), metrics
    )
    assert b"kubesweep_queue_up" not in metrics.text()
    await manager._queue.probe()
    assert b"kubesweep_queue_up 0.0" in metrics.text()
    await manager.close()
    await client.close()
