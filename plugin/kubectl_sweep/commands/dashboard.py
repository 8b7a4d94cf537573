"""``kubectl sweep dashboard``: the console of a cluster on this machine, with the rights of the person who runs it. It only shows."""

from __future__ import annotations

import asyncio
import time

from kubectl_sweep.cluster.kinds import LEASES
from kubectl_sweep.console.leases import Leases
from kubectl_sweep.console.provider import ApiProvider
from kubectl_sweep.context import Context
from kubesweep.listen_address import LOOPBACK, parse_address
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_console.serving import serving, until_signal

__all__ = ["run_dashboard"]


def run_dashboard(context: Context, port: str) -> Exit:
    """Serve until a signal. ``port``: a port, or HOST:PORT with a loopback address."""
    cluster = context.cluster
    namespace = None if context.options.all_namespaces else cluster.namespace
    cluster.schedules(namespace)  # a missing right is reported before anybody opens a page
    where = f"namespace {namespace}" if namespace else "all namespaces"
    leases = Leases(lambda home, name: cluster.get(LEASES, home, name), time.time)
    provider = ApiProvider(
        f"{where} of {cluster.transport.host}",
        lambda: cluster.schedules(namespace),
        context.options.flags().strip(),
        silence=leases.silence,
    )
    return asyncio.run(_serve(context, provider, port))


async def _serve(context: Context, provider: ApiProvider, port: str) -> Exit:
    address = parse_address(port, "--port", LOOPBACK)
    async with serving(address, provider, private=True) as link:
        context.terminal.line(link)
        context.terminal.say("The link has a key: everyone who has it reads with your rights. Ctrl-C ends the console.")
        await until_signal()
    return Exit.CLEAN
