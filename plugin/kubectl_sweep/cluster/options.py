"""The options that name a cluster, a namespace and a user: the same for each command, as in kubectl."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClusterOptions"]

CONNECT, READ = 10.0, 30.0  # seconds, where --request-timeout does not say otherwise


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    namespace: str | None = None  # None: the context's
    all_namespaces: bool = False
    context: str | None = None  # None: the current one
    kubeconfig: str | None = None  # None: $KUBECONFIG, else ~/.kube/config
    as_user: str | None = None
    as_groups: tuple[str, ...] = ()
    request_timeout: float | None = None  # seconds; 0: none

    @property
    def timeouts(self) -> tuple[float | None, float | None]:
        """Seconds to connect, and to wait for an answer."""
        if self.request_timeout is None:
            return CONNECT, READ
        return (self.request_timeout, self.request_timeout) if self.request_timeout else (None, None)

    def flags(self) -> str:
        """The options to repeat in a printed command, so that it reaches the same cluster as the same user; with a space in front."""
        import shlex

        named = {"--context": self.context, "--kubeconfig": self.kubeconfig, "--as": self.as_user}
        words = [f"{name} {shlex.quote(value)}" for name, value in named.items() if value]
        words += [f"--as-group {shlex.quote(group)}" for group in self.as_groups]
        return "".join(f" {word}" for word in words)
