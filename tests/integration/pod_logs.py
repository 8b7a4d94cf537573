"""Wait for log entries and states of a pod."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from typing import Any

from tests.integration.pod import Pod, log_until
from tests.kits.deadlines import scaled

PAUSES = "claiming pauses"


async def said(process: subprocess.Popen[str], text: str, **fields: object) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(log_until, process, text, **fields), scaled(60))


async def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Returns its log."""
    process.send_signal(number)
    _, errors = await asyncio.to_thread(process.communicate, timeout=scaled(60))
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return str(errors)


async def idle(pod: Pod) -> None:
    """Nothing waits or runs any more."""
    async with asyncio.timeout(scaled(60)):
        while (stats := await pod.stats()).ready + stats.running:
            await pod.queue.wait(pod.plan.ref, 0.05)
