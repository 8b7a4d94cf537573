"""The code of a worker's pod: a worker whose plan is in the environment, and whose secrets are in mounted files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from kubesweep.errors import SpecError
from kubesweep.grace_period import drain_seconds
from kubesweep.listen_address import Address, parse_address
from kubesweep.logging import safe_url
from kubesweep_worker.metrics.endpoint import metrics_endpoint
from kubesweep_worker.pod import environment as pod
from kubesweep_worker.pod.database import pod_database
from kubesweep_worker.pod.mounted_secrets import mounted_headers, mounted_signing
from kubesweep_worker.runtime.build import build_worker, freeze_imports
from kubesweep_worker.runtime.signals import install_signal_handlers

log = logging.getLogger("kubesweep.pod")
METRICS, METRICS_DEFAULT = "KUBESWEEP_METRICS", ":8080"


async def work(environment: Mapping[str, str]) -> int:
    """Work until SIGTERM; returns the exit code. Raises SpecError for an unusable environment."""
    plan = pod.plan(environment)
    queue = pod.required(environment, "KUBESWEEP_QUEUE")
    url = pod_database(environment, plan.namespace)
    # The handler is imported from where `python -m` in the image would find it.
    worker = build_worker(
        plan,
        url=url,
        queue_url=queue,
        headers=mounted_headers(environment, plan),
        signing=mounted_signing(environment, plan),
        path=Path.cwd(),
        where=url.where,
        refreshed=url.refreshed,
    )
    install_signal_handlers(worker, within=drain_seconds(plan))
    freeze_imports()
    fix = f"set {METRICS} in spec.worker.env to another address, such as :8081"
    async with metrics_endpoint(_metrics_address(environment), lambda: [worker.snapshot()], fix) as port:
        log.info(
            "working",
            extra={
                "schedule": f"{plan.namespace}/{plan.name}",
                "generation": plan.generation,
                "plan": plan.version.hash,
                "queue": safe_url(queue),
                "metrics": port,
            },
        )
        return await worker.run()


def _metrics_address(environment: Mapping[str, str]) -> Address:
    """The default for one that cannot be read, because metrics must not keep a worker from its rows."""
    try:
        return parse_address(environment.get(METRICS) or METRICS_DEFAULT, METRICS)
    except SpecError as error:
        log.warning("%s; %s is used", error, METRICS_DEFAULT)
        return parse_address(METRICS_DEFAULT, METRICS)
