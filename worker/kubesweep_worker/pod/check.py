"""``kubesweep-worker check``: the check of ``kubesweep check`` in a pod, with the pod's plan, Secrets, image and network.

It runs beside a worker (``kubectl exec``), or as the command of a pod of its own from the worker's template. It does not read the queue.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

from kubesweep.check_document import document_json, exit_code
from kubesweep.check_report import plain_report
from kubesweep_worker.effects import open_effect
from kubesweep_worker.pod import environment as pod
from kubesweep_worker.pod.database import pod_database
from kubesweep_worker.pod.mounted_secrets import mounted_headers, mounted_signing
from kubesweep_worker.preflight import Options, preflight
from kubesweep_worker.sources.reconnecting import ReconnectingSource

__all__ = ["check"]


async def check(environment: Mapping[str, str], options: Options, *, as_json: bool, sql: bool) -> int:
    """Print the report and return its exit code, that of ``kubesweep check``. Raises SpecError for an unusable environment."""
    plan = pod.plan(environment)
    url = pod_database(environment, plan.namespace)
    headers, signing = mounted_headers(environment, plan), mounted_signing(environment, plan)
    with redirect_stdout(sys.stderr):  # a handler's module may print
        document = await preflight(
            plan,
            ReconnectingSource(plan, url, url.where, refreshed=url.refreshed),
            # The handler is imported from where the worker imports it.
            lambda: open_effect(plan, headers, Path.cwd(), signing),
            options,
        )
    print(document_json(document) if as_json else plain_report(document, sql=sql), flush=True)
    return exit_code(document)
