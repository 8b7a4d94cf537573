"""Reads single dead letters where they are: by ``kubesweep-worker dead`` in the namespace of their schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubectl_sweep.cluster.client import Cluster
from kubectl_sweep.dead.choice import Choice
from kubectl_sweep.dead.letters_document import Letters, find_document, read_letters
from kubectl_sweep.pods.program import run_program
from kubesweep.errors import KubesweepError, Outage
from kubesweep.text import clip
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.shell.terminal import Terminal

__all__ = ["read"]

SHOWN = 2000  # characters of an output that is no document


def read(
    cluster: Cluster,
    terminal: Terminal,
    schedule: Mapping[str, Any],
    choice: Choice,
    *,
    most: int,
    retrying: bool = False,
) -> Letters:
    """The dead letters that match, or the rows in retry. Raises Outage where the queue or the pod cannot be reached."""
    words = [*choice.arguments, *(["--retrying"] if retrying else []), "--most", str(most)]
    ended = run_program(cluster, terminal, schedule, "dead", words)
    document = find_document(ended.output, "letters")
    if document is not None and ended.code in (Exit.CLEAN, Exit.FAILURE):
        return read_letters(document)
    said = clip((ended.log or ended.output).strip(), SHOWN) or "nothing"
    if ended.code == Exit.UNREACHABLE:
        raise Outage("QueueUnreachable", f"The pod cannot reach the queue. It printed:\n{said}")
    raise KubesweepError(
        f"kubesweep-worker dead ended with exit code {ended.code}. It printed:\n{said}\n"
        "The image of the workers may have an older version of Kubesweep, without this command."
    )
