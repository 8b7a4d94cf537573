"""What a podTemplate may ask for: at most PodSecurity baseline, no API token, only the listed service accounts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesweep.api.models.spec import SweepSchedule
from kubesweep.api.problems import SpecErrors
from kubesweep_controller.children.pod_policy import PodPolicy, check_pods, privileged
from tests.kits.controller import SPEC

Template = dict[str, Any]


def pod(**spec: Any) -> Template:
    return {"spec": spec}


def worker(**fields: Any) -> Template:
    return pod(containers=[{"name": "worker", **fields}])


def guarded(**context: Any) -> Template:
    return worker(securityContext=context)


# Each is refused by PodSecurity baseline too (tests/e2e/test_pod_policy.py asks it).
PRIVILEGED: dict[str, Template] = {
    "spec.hostNetwork": pod(hostNetwork=True),
    "spec.hostPID": pod(hostPID=True),
    "spec.hostIPC": pod(hostIPC=True),
    "spec.volumes[0].hostPath": pod(volumes=[{"name": "node", "hostPath": {"path": "/"}}]),
    "spec.securityContext.sysctls[1]": pod(
        securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}]}
    ),
    "spec.securityContext.seccompProfile.type": pod(securityContext={"seccompProfile": {"type": "Unconfined"}}),
    "spec.securityContext.appArmorProfile.type": pod(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
    "spec.securityContext.seLinuxOptions.user": pod(securityContext={"seLinuxOptions": {"user": "system_u"}}),
    "spec.securityContext.windowsOptions.hostProcess": pod(
        hostNetwork=None, securityContext={"windowsOptions": {"hostProcess": True}}
    ),
    "spec.containers[0].securityContext.privileged": guarded(privileged=True, allowPrivilegeEscalation=None),
    "spec.containers[0].securityContext.capabilities.add": guarded(capabilities={"add": ["CHOWN", "SYS_ADMIN"]}),
    "spec.containers[0].securityContext.procMount": guarded(procMount="Unmasked"),
    "spec.containers[0].securityContext.seccompProfile.type": guarded(seccompProfile={"type": "Unconfined"}),
    "spec.containers[0].securityContext.appArmorProfile.type": guarded(appArmorProfile={"type": "Unconfined"}),
    "spec.containers[0].securityContext.seLinuxOptions.role": guarded(seLinuxOptions={"role": "sysadm_r"}),
    "spec.containers[0].securityContext.seLinuxOptions.type": guarded(seLinuxOptions={"type": "spc_t"}),
    "spec.containers[0].securityContext.windowsOptions.hostProcess": guarded(windowsOptions={"hostProcess": True}),
    "spec.containers[0].ports[0].hostPort": worker(ports=[{"containerPort": 80, "hostPort": 80}]),
    "spec.containers[0].livenessProbe.httpGet.host": worker(livenessProbe={"httpGet": {"port": 80, "host": "10.0.0.1"}}),
    "spec.containers[0].startupProbe.tcpSocket.host": worker(startupProbe={"tcpSocket": {"port": 80, "host": "10.0.0.1"}}),
    "spec.containers[0].lifecycle.preStop.httpGet.host": worker(
        lifecycle={"preStop": {"httpGet": {"port": 80, "host": "10.0.0.1"}}}
    ),
    "spec.initContainers[1].securityContext.privileged": pod(
        initContainers=[{"name": "a", "image": "a"}, {"name": "b", "image": "b", "securityContext": {"privileged": True}}]
    ),
    "metadata.annotations.container.apparmor.security.beta.kubernetes.io/worker": {
        "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}}
    },
}  # fmt: skip
TOKENS: dict[str, Template] = {
    "spec.automountServiceAccountToken": pod(automountServiceAccountToken=True),
    "spec.volumes[0].projected.sources[1].serviceAccountToken": pod(
        volumes=[{"name": "t", "projected": {"sources": [{"secret": {"name": "a"}}, {"serviceAccountToken": {"path": "t"}}]}}]
    ),
    "spec.volumes[0].projected.sources[0].podCertificate": pod(
        volumes=[{"name": "t", "projected": {"sources": [{"podCertificate": {"signerName": "x.example/y", "keyType": "ED25519"}}]}}]
    ),
}  # fmt: skip
# What people lay over a pod in earnest. Baseline takes each.
EVERYDAY: dict[str, Template] = {
    "nothing": {},
    "a role of a cloud and a sidecar that fetches its token": pod(
        serviceAccountName="carts-iam",
        volumes=[{"name": "iam", "emptyDir": {"medium": "Memory"}}],
        initContainers=[{"name": "token", "image": "corp/token:1", "restartPolicy": "Always", "volumeMounts": [{"name": "iam", "mountPath": "/out"}]}],
        containers=[{"name": "worker", "volumeMounts": [{"name": "iam", "mountPath": "/run/kubesweep/database"}]}],
    ),
    "a service account, a pull secret and a user": pod(
        serviceAccountName="jobs", imagePullSecrets=[{"name": "corp"}], securityContext={"runAsUser": 12345, "fsGroup": 5}
    ),
    "workload identity": {"metadata": {"labels": {"azure.workload.identity/use": "true"}}, "spec": {"serviceAccountName": "jobs"}},
    "labels of nodes that sound like more": pod(nodeSelector={"hostNetwork": "true", "privileged": "true"}),
    "what says nothing": pod(hostNetwork=False, hostPID=None, volumes=[{"name": "v", "hostPath": None, "emptyDir": {}}], automountServiceAccountToken=False),
    "an own namespace of users": pod(hostUsers=False),
    "little of what root can": guarded(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, procMount="Default", seccompProfile={"type": "Localhost", "localhostProfile": "p.json"}),
    "SELinux in its bounds": pod(securityContext={"seLinuxOptions": {"type": "container_t", "level": "s0:c1"}}),
    "AppArmor of the node": {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "localhost/p"}}},
    "ports and probes of its own": worker(ports=[{"containerPort": 80}], readinessProbe={"httpGet": {"port": 80}}),
    "secrets and configuration": pod(volumes=[{"name": "c", "projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}]}}]),
}  # fmt: skip
ALL = PodPolicy(privileged=True, token=True)


def refusals(template: Template, policy: PodPolicy, where: str = "worker") -> list[str]:
    """Refused paths, relative to the template."""
    fields = {where: {"podTemplate": template}}
    spec = SweepSchedule.model_validate(
        {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "a"}, "spec": SPEC | fields}
    ).spec  # fmt: skip
    try:
        check_pods(spec, policy)
    except SpecErrors as refused:
        return [each.path.removeprefix(f"spec.{where}.podTemplate.") for each in refused.problems]
    return []


@pytest.mark.parametrize("where", ["worker", "tick"])
@pytest.mark.parametrize("path", [*PRIVILEGED, *TOKENS])
def test_what_reaches_the_node_or_the_api_server_needs_a_value_of_the_chart(path: str, where: str) -> None:
    template = PRIVILEGED.get(path) or TOKENS[path]
    assert refusals(template, PodPolicy(), where) == [path]
    assert refusals(template, ALL, where) == []
    assert refusals(template, PodPolicy(privileged=path in TOKENS, token=path in PRIVILEGED), where) == [path]


@pytest.mark.parametrize("template", EVERYDAY.values(), ids=EVERYDAY.keys())
def test_what_people_lay_over_a_pod_every_day_is_taken(template: Template) -> None:
    assert refusals(template, PodPolicy()) == []


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_service_accounts_are_those_that_the_chart_names(field: str) -> None:
    template = pod(**{field: "carts-iam"})
    assert refusals(template, PodPolicy()) == []
    assert refusals(template, PodPolicy(service_accounts=("jobs", "carts-iam"))) == []
    for accounts in ((), ("jobs",)):
        assert refusals(template, PodPolicy(service_accounts=accounts)) == [f"spec.{field}"]
        for name in ("default", "", None):
            assert refusals(pod(**{field: name}), PodPolicy(service_accounts=accounts)) == []


def test_the_message_names_the_value_that_allows_it() -> None:
    spec = {**SPEC, "worker": {"podTemplate": PRIVILEGED["spec.hostPID"]}}
    meta = {"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "a"}}
    with pytest.raises(SpecErrors) as refused:
        check_pods(SweepSchedule.model_validate({**meta, "spec": spec}).spec, PodPolicy())
    assert refused.value.code == "NotAllowed"
    assert str(refused.value) == (
        "spec.worker.podTemplate.spec.hostPID: not allowed here: PodSecurity baseline refuses it too; the chart's value "
        "worker.podTemplate.allowPrivileged allows it"
    )


FIELDS = [
    "metadata",
    "spec",
    "annotations",
    "volumes",
    "projected",
    "sources",
    "securityContext",
    "sysctls",
    "containers",
    "ports",
]
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from([*FIELDS, "capabilities", "add", "lifecycle", "preStop"]), inner)
    ),
)


@given(st.dictionaries(st.sampled_from(FIELDS), SHAPES))
def test_a_template_of_any_shape_is_searched(template: Template) -> None:
    list(privileged(template))
    list(privileged({"spec": template}))
