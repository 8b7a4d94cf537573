"""What a verb gets: the terminal, the options that name a cluster, and the cluster itself, connected when it is first used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.cluster.options import ClusterOptions
from kubesweep.errors import SpecError
from kubesweep_cli.shell.terminal import Terminal, open_terminal

if TYPE_CHECKING:
    from kubectl_sweep.cluster.client import Cluster

__all__ = ["Context", "current", "set_current"]

KINDS = frozenset(
    {
        "sweepschedule",
        "sweepschedules",
        "sweep",
        "sweeps",
        "sweepschedule.kubesweep.dev",
        "sweepschedules.kubesweep.dev",
    }
)


@dataclass(frozen=True)
class Context:
    terminal: Terminal
    options: ClusterOptions

    @cached_property
    def cluster(self) -> Cluster:
        from kubectl_sweep.cluster.client import connect

        return connect(self.options)

    def ref(self, typed: str) -> Ref:
        """The schedule that a person typed as ``NAME`` or, as ``-o name`` prints it, ``sweepschedule.kubesweep.dev/NAME``."""
        kind, has_kind, name = typed.rpartition("/")
        if has_kind and kind.lower() not in KINDS:
            raise SpecError(
                "BadName",
                f"{typed} is no schedule.\nWrite NAME or sweepschedule/NAME, and the namespace as -n NAMESPACE.",
            )
        if self.options.all_namespaces:
            raise SpecError("BadOption", "-A and a NAME exclude each other.\nName the namespace:  -n NAMESPACE")
        return Ref(self.cluster.namespace, name)

    def command(self, verb: str, ref: Ref, *words: str) -> str:
        """A command to print: it acts on ``ref`` with every current namespace and context."""
        return f"{' '.join(('kubectl sweep', verb, ref.name, *words))} -n {ref.namespace}{self.options.flags()}"


_current: Context = Context(open_terminal(), ClusterOptions())


def current() -> Context:
    return _current


def set_current(context: Context) -> None:
    """The global options replace it before any verb runs."""
    global _current  # noqa: PLW0603
    _current = context
