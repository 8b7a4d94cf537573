"""What the worker logs about the queue's answer to a settlement."""

from __future__ import annotations

import logging

from kubesweep.queue.service import Settled

log = logging.getLogger("kubesweep.worker")


def log_outcomes(answer: Settled) -> None:
    if answer.lost:
        log.warning("settled too late: other workers own these jobs, and count them", extra={"jobs": list(answer.lost)})
    for sweep in answer.finished:
        log.info("sweep finished", extra={"sweep": sweep})
    for sweep in answer.halted:
        log.error("the sweep ended as Halted or Failed: `kubesweep status` shows the reason", extra={"sweep": sweep})
