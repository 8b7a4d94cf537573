"""What a podTemplate may ask for in this installation. Pure.

The controller creates pods for every author of a SweepSchedule. Admission policies and quotas that go by the user see the controller,
not the author. So the controller refuses what the author could not create alone, and names the chart's value that allows it. Privileged
means what PodSecurity ``baseline`` refuses (https://kubernetes.io/docs/concepts/security/pod-security-standards/), so that even a namespace
without a PodSecurity level gives no access to the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubesweep.api.models.spec import Spec
from kubesweep.api.problems import Problem, SpecErrors

__all__ = ["ANY", "NOT_ALLOWED", "PodPolicy", "check_pods", "privileged"]

NOT_ALLOWED = "NotAllowed"
ANY = "*"
_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
})  # fmt: skip
_SELINUX = frozenset({"container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


@dataclass(frozen=True)
class PodPolicy:
    """``service_accounts``: allowed ones besides ``default``; ``*``: every one of the schedule's namespace."""

    privileged: bool = False
    token: bool = False
    service_accounts: tuple[str, ...] = (ANY,)


def check_pods(spec: Spec, policy: PodPolicy) -> None:
    """Raises ``SpecErrors`` (code ``NotAllowed``) with everything that the templates ask for and the policy forbids."""
    templates = {
        "spec.worker.podTemplate": spec.worker.pod_template,
        "spec.tick.podTemplate": spec.tick.pod_template if spec.tick else None,
    }
    found = [
        Problem(NOT_ALLOWED, f"not allowed here: {why}", path=f"{path}.{field}")
        for path, template in templates.items()
        for field, why in _refused(template or {}, policy)
    ]
    if found:
        raise SpecErrors(found)


def _refused(template: Mapping[str, Any], policy: PodPolicy) -> Iterator[tuple[str, str]]:
    """Fields, and what would allow each."""
    if not policy.privileged:
        why = "PodSecurity baseline refuses it too; the chart's value worker.podTemplate.allowPrivileged allows it"
        yield from ((field, why) for field in privileged(template))
    if not policy.token:
        why = "a token for the API server; the chart's value worker.podTemplate.allowToken allows it"
        yield from ((field, why) for field in _tokens(_map(template, "spec")))
    if ANY not in policy.service_accounts:
        known = ", ".join(("default", *policy.service_accounts))
        why = f"the service accounts of the chart's value worker.podTemplate.serviceAccounts are {known}"
        yield from ((field, why) for field in _accounts(_map(template, "spec"), policy.service_accounts))


def _accounts(spec: Mapping[str, Any], allowed: tuple[str, ...]) -> Iterator[str]:
    for field in ("serviceAccountName", "serviceAccount"):  # the API server takes the old name too
        if spec.get(field) not in (None, "", "default", *allowed):
            yield f"spec.{field}"


def _tokens(spec: Mapping[str, Any]) -> Iterator[str]:
    if not (spec.get("automountServiceAccountToken") is None or spec["automountServiceAccountToken"] is False):
        yield "spec.automountServiceAccountToken"
    for path, volume in _each(spec, "volumes", "spec"):
        for inside, source in _each(_map(volume, "projected"), "sources", f"{path}.projected"):
            for field in ("serviceAccountToken", "podCertificate"):
                if source.get(field) is not None:
                    yield f"{inside}.{field}"


def privileged(template: Mapping[str, Any]) -> Iterator[str]:
    """The fields that make PodSecurity ``baseline`` refuse a pod."""
    for name, value in _map(_map(template, "metadata"), "annotations").items():
        if (
            name.startswith(_APPARMOR)
            and value not in (None, "", "runtime/default")
            and not str(value).startswith("localhost/")
        ):
            yield f"metadata.annotations.{name}"
    spec = _map(template, "spec")
    yield from (f"spec.{field}" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    yield from (
        f"{path}.hostPath" for path, volume in _each(spec, "volumes", "spec") if volume.get("hostPath") is not None
    )
    context = _map(spec, "securityContext")
    yield from _context(context, "spec.securityContext")
    for path, sysctl in _each(context, "sysctls", "spec.securityContext"):
        if sysctl.get("name") not in tuple(_SYSCTLS):  # a name that is no text is not hashable
            yield path
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for path, container in _each(spec, kind, "spec"):
            yield from _container(container, path)


def _container(container: Mapping[str, Any], path: str) -> Iterator[str]:
    yield from _context(_map(container, "securityContext"), f"{path}.securityContext")
    yield from (f"{where}.hostPort" for where, port in _each(container, "ports", path) if port.get("hostPort"))
    lifecycle = _map(container, "lifecycle")
    handlers = {f"{path}.{name}": _map(container, name) for name in _PROBES}
    handlers |= {f"{path}.lifecycle.{name}": _map(lifecycle, name) for name in ("postStart", "preStop")}
    for where, handler in handlers.items():
        for way in ("httpGet", "tcpSocket"):
            if _map(handler, way).get("host"):
                yield f"{where}.{way}.host"


def _context(context: Mapping[str, Any], path: str) -> Iterator[str]:
    if context.get("privileged"):
        yield f"{path}.privileged"
    if _map(context, "windowsOptions").get("hostProcess"):
        yield f"{path}.windowsOptions.hostProcess"
    added = _map(context, "capabilities").get("add")
    if isinstance(added, list) and not all(isinstance(each, str) and each in _CAPABILITIES for each in added):
        yield f"{path}.capabilities.add"
    if context.get("procMount") not in (None, "Default"):
        yield f"{path}.procMount"
    for profile in ("seccompProfile", "appArmorProfile"):
        if _map(context, profile).get("type") not in (None, *_PROFILES):
            yield f"{path}.{profile}.type"
    selinux = _map(context, "seLinuxOptions")
    yield from (f"{path}.seLinuxOptions.{field}" for field in ("user", "role") if selinux.get(field))
    if selinux.get("type") not in (None, "", *_SELINUX):
        yield f"{path}.seLinuxOptions.type"


def _map(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that holds a map; empty where it holds something else, which the API server refuses."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _each(data: Mapping[str, Any], name: str, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    value = data.get(name)
    for number, each in enumerate(value if isinstance(value, list) else ()):
        if isinstance(each, Mapping):
            yield f"{path}.{name}[{number}]", each
