"""The chart's RBAC: the controller has exactly the rights that it uses, and users have those of their role in the namespace."""

from __future__ import annotations

import re

import pytest

from tests.chart.rendering import CHART, NAMESPACE, PRESETS, ROOT, Object, kinds, one, render

# (API group, resource, resource name if restricted) -> verbs. tests/e2e/test_chart_rbac.py compares them with the audit log.
RIGHTS = {
    ("kubesweep.dev", "sweepschedules", ""): {"list", "watch"},
    ("kubesweep.dev", "sweepschedules/status", ""): {"patch"},
    ("apps", "deployments", ""): {"get", "list", "watch", "create", "patch"},
    ("apps", "deployments/scale", ""): {"patch"},
    ("batch", "cronjobs", ""): {"get", "list", "watch", "create", "patch", "delete"},
    ("keda.sh", "scaledobjects", ""): {"get", "create", "patch"},
    ("keda.sh", "triggerauthentications", ""): {"get", "create", "patch"},
    ("", "pods", ""): {"list"},
    ("", "secrets", ""): {"create"},
    ("", "secrets", "kubesweep-queue"): {"patch"},
    ("", "namespaces", ""): {"get"},
    ("events.k8s.io", "events", ""): {"create", "patch"},
}
LEASE = {
    ("coordination.k8s.io", "leases", ""): {"create"},
    ("coordination.k8s.io", "leases", "ks-kubesweep"): {"get", "update"},
}
PASSWORD = {("", "secrets", "ks-kubesweep-redis"): {"patch"}}
HOME = LEASE | PASSWORD  # in the release's namespace
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def rights(role: Object) -> dict[tuple[str, str, str], set[str]]:
    found: dict[tuple[str, str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    found.setdefault((group, resource, name), set()).update(rule["verbs"])
    return found


def bound(objects: list[Object]) -> list[Object]:
    """The roles to which the controller's account is bound."""
    roles = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects if "rules" in o}
    found = []
    for binding in kinds(objects, "RoleBinding", "ClusterRoleBinding"):
        [subject] = binding["subjects"]
        if not binding["metadata"]["name"].endswith("-test"):
            assert subject["namespace"] == NAMESPACE
            kind = binding["roleRef"]["kind"]
            home = binding["metadata"].get("namespace", "") if kind == "Role" else ""
            found.append(roles[kind, home, binding["roleRef"]["name"]])
    return found


def test_the_controller_has_exactly_the_rights_that_it_uses() -> None:
    everywhere, lease = bound(render())
    assert (everywhere["kind"], rights(everywhere)) == ("ClusterRole", RIGHTS)
    assert (lease["kind"], lease["metadata"]["namespace"], rights(lease)) == ("Role", NAMESPACE, HOME)


@pytest.mark.parametrize(
    ("preset", "namespaces"), [("watch-namespaces", ["shop", "support"]), ("namespaced", [NAMESPACE])]
)
def test_with_named_namespaces_it_has_the_same_rights_only_there(preset: str, namespaces: list[str]) -> None:
    objects = render(preset)
    assert kinds(objects, "ClusterRoleBinding") == []
    *homes, lease = bound(objects)
    assert [home["metadata"]["namespace"] for home in homes] == namespaces
    assert all(rights(home) == RIGHTS for home in homes)
    assert rights(lease) == HOME


@pytest.mark.parametrize("preset", ["gitops", "external-redis"])
def test_it_may_not_write_a_password_that_exists_already(preset: str) -> None:
    _, lease = bound(render(preset))
    assert rights(lease) == LEASE


@pytest.mark.parametrize("preset", PRESETS)
def test_no_role_has_a_wildcard_or_reads_secrets(preset: str) -> None:
    for role in kinds(render(preset), "Role", "ClusterRole"):
        for (group, resource, _), verbs in rights(role).items():
            assert "*" not in {group, resource, *verbs}
            if resource == "secrets":
                assert verbs <= {"create", "patch"}


def test_each_verb_has_a_reason() -> None:
    lines = (CHART / "templates" / "controller" / "_rules.tpl").read_text().splitlines()
    verbs = [line for line in lines if re.match(r"    - \w+", line)]
    assert len(verbs) == sum(map(len, RIGHTS.values())) - 3  # scaledobjects and triggerauthentications share a rule
    assert [line for line in verbs if not re.fullmatch(r"    - [a-z]+ # .{10,}", line)] == []


def test_view_reads_schedules_and_edit_writes_them() -> None:
    given: dict[str, set[str]] = {}
    for role in kinds(render(), "ClusterRole"):
        for label in role["metadata"]["labels"]:
            if label.startswith(AGGREGATE):
                assert rights(role).keys() == {("kubesweep.dev", "sweepschedules", "")}
                given.setdefault(label.removeprefix(AGGREGATE), set()).update(*rights(role).values())
    read, write = {"get", "list", "watch"}, {"create", "update", "patch", "delete", "deletecollection"}
    assert given == {"view": read, "edit": read | write, "admin": read | write}
    off = kinds(render("default", "rbac.aggregate=false"), "ClusterRole")
    assert [role for role in off if any(AGGREGATE in label for label in role["metadata"]["labels"])] == []


def test_existing_accounts_and_roles_are_used() -> None:
    objects = render("default", "rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=mine")
    assert kinds([o for o in objects if not o["metadata"]["name"].endswith("-test")], "ServiceAccount", "Role") == []
    assert one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_helm_test_may_read_only_its_schedule() -> None:
    [role] = [o for o in kinds(render(), "Role") if o["metadata"]["name"].endswith("-test")]
    assert rights(role) == {("kubesweep.dev", "sweepschedules", "ks-kubesweep-test"): {"get"}}


# Roles for people

VIEWER = {
    ("kubesweep.dev", "sweepschedules", ""): {"get", "list", "watch"},
    ("", "events", ""): {"get", "list", "watch"},
    ("events.k8s.io", "events", ""): {"get", "list", "watch"},
    ("", "pods", ""): {"get", "list", "watch"},
    ("", "pods/log", ""): {"get"},
    ("apps", "deployments", ""): {"get", "list"},
    ("batch", "cronjobs", ""): {"get", "list"},
    ("batch", "jobs", ""): {"get", "list"},
    ("keda.sh", "scaledobjects", ""): {"get", "list"},
    ("autoscaling", "horizontalpodautoscalers", ""): {"get", "list"},
}
OPERATOR = VIEWER | {
    ("kubesweep.dev", "sweepschedules", ""): {"get", "list", "watch", "patch", "update"},
    ("", "pods/exec", ""): {"create", "get"},
    ("batch", "jobs", ""): {"get", "list", "create", "delete"},
}
USER_ROLES = {"viewer": VIEWER, "operator": OPERATOR}
KUBECTL_PAGE = ROOT / "docs" / "kubectl.md"


def user_roles(objects: list[Object], user: str) -> list[Object]:
    name = f"ks-kubesweep:{NAMESPACE}:{user}"
    return [role for role in kinds(objects, "ClusterRole", "Role") if role["metadata"]["name"] == name]


def documented(user: str) -> dict[tuple[str, str, str], set[str]]:
    """The rights of the commands that docs/kubectl.md lists for a Role; the operator may run the viewer's too."""
    found: dict[tuple[str, str, str], set[str]] = {}
    table = re.findall(r"^\| `kubectl [^|]*\| ([^|]*) \| (viewer|operator) \|$", KUBECTL_PAGE.read_text(), re.MULTILINE)
    assert len(table) > 10
    for cell, role in table:
        if role in (user, "viewer"):
            for part in cell.split("; "):
                resources, _, verbs = part.rpartition(": ")
                for written in re.findall(r"`([^`]+)`", resources):
                    resource, _, group = written.partition(".")
                    found.setdefault((group, resource, ""), set()).update(verbs.split(", "))
    return found


@pytest.mark.parametrize("user", USER_ROLES)
def test_a_role_for_people_has_exactly_the_rights_that_the_page_lists(user: str) -> None:
    (role,) = user_roles(render(), user)
    assert (role["kind"], rights(role)) == ("ClusterRole", USER_ROLES[user])
    assert documented(user) == USER_ROLES[user]


@pytest.mark.parametrize("user", USER_ROLES)
@pytest.mark.parametrize(
    ("preset", "namespaces"), [("watch-namespaces", ["shop", "support"]), ("namespaced", [NAMESPACE])]
)
def test_in_named_namespaces_it_is_a_role_there(preset: str, namespaces: list[str], user: str) -> None:
    roles = user_roles(render(preset), user)
    assert [(role["kind"], role["metadata"]["namespace"]) for role in roles] == [("Role", each) for each in namespaces]
    assert all(rights(role) == USER_ROLES[user] for role in roles)


@pytest.mark.parametrize("user", USER_ROLES)
@pytest.mark.parametrize("preset", ["default", "namespaced"])
def test_a_role_for_people_is_bound_to_nobody_aggregated_nowhere_and_can_be_left_out(preset: str, user: str) -> None:
    objects = render(preset)
    for role in user_roles(objects, user):
        assert [label for label in role["metadata"]["labels"] if AGGREGATE in label] == []
        bindings = kinds(objects, "RoleBinding", "ClusterRoleBinding")
        assert [each for each in bindings if each["roleRef"]["name"] == role["metadata"]["name"]] == []
    other = "viewer" if user == "operator" else "operator"
    left = render(preset, f"rbac.{user}=false")
    assert (len(user_roles(left, user)), len(user_roles(left, other))) == (0, len(user_roles(objects, other)))


def test_each_right_of_a_role_for_people_has_a_reason() -> None:
    lines = (CHART / "templates" / "_user-rules.tpl").read_text().splitlines()
    verbs = [line for line in lines if re.match(r"    - \w+", line)]
    assert len(verbs) > 15
    assert [line for line in verbs if not re.fullmatch(r"    - [a-z]+ # .{10,}", line)] == []
