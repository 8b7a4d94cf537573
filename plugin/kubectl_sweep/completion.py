"""Completion by the shell: names come from the cluster, with the rights of the person who types.

kubectl completes a plugin by running ``kubectl_complete-sweep`` from the PATH, with the words behind ``kubectl sweep``. It prints one
candidate a line and then a directive (https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective). An installation with pip has that
program. For one with Krew, which links one program only, ``kubectl sweep completion`` prints it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kubectl_sweep.cluster.options import ClusterOptions
from kubesweep_cli.shell.completion import Given, Known, complete, complete_from, leave

__all__ = ["PROGRAM", "SHELLS", "VARIABLE", "complete_for_kubectl", "complete_for_shell", "from_cluster", "script"]

PROGRAM = "kubectl-sweep"
VARIABLE = "_KUBECTL_SWEEP_COMPLETE"  # set by the scripts of `completion`
SHELLS = ("kubectl", "bash", "zsh", "fish")
PATIENCE = 2.0  # seconds for the API server
TAKES_FILE = frozenset({"-f", "--file", "--kubeconfig"})
FILES, NO_FILES = ":0", ":4"  # directives: what follows may be a file, or is one of the candidates
FOR_KUBECTL = f"""#!/bin/sh
# kubectl runs this to complete `kubectl sweep`. Save it as kubectl_complete-sweep in a folder of the PATH, and make it executable.
{VARIABLE}=kubectl exec kubectl sweep "$@"
"""


def script(shell: str) -> str:
    """What ``kubectl sweep completion`` prints: for kubectl's own completion, or for a shell in which ``kubectl-sweep`` is typed."""
    if shell == "kubectl":
        return FOR_KUBECTL.rstrip()
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell)


def from_cluster(given: Given, errors: bool) -> list[Known]:
    """The schedules of the namespace. They are read as ``get`` reads them, so their errors are there too."""
    from kubectl_sweep.cluster.client import connect
    from kubesweep_console.cluster_documents import error_groups

    options = ClusterOptions(
        namespace=given.get("namespace"),
        context=given.get("context"),
        kubeconfig=given.get("kubeconfig"),
        as_user=given.get("as_user"),
        as_groups=tuple(given.get("as_groups") or ()),
        request_timeout=PATIENCE,
    )
    cluster = connect(options)
    found = cluster.schedules(None if given.get("all_namespaces") else cluster.namespace)
    return [
        Known(
            each["metadata"]["namespace"],
            each["metadata"]["name"],
            tuple(group.error for group in error_groups(each)) if errors else (),
        )
        for each in found
    ]


def complete_for_kubectl(app: Callable[..., Any], words: Sequence[str]) -> NoReturn:
    """``words``: those behind ``kubectl sweep``; the last one is incomplete, and may be empty. Errors are silent."""
    *whole, incomplete = words or [""]
    line = f"{shlex.join([PROGRAM, *whole])} {shlex.quote(incomplete) if incomplete else ''}"
    # Typer prints candidates with a tab before their help, as kubectl expects them, for fish.
    os.environ |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args", VARIABLE: "complete_fish"}
    complete_from(from_cluster)
    complete(app, PROGRAM, VARIABLE)
    print(FILES if whole and whole[-1] in TAKES_FILE else NO_FILES)
    leave(0)


def complete_for_shell(app: Callable[..., Any]) -> NoReturn:
    complete_from(from_cluster)
    leave(complete(app, PROGRAM, VARIABLE))
