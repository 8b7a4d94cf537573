"""The queue in the chart: its URL, its password, and the bundled Redis."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubesweep.queue.redis.connections import parse
from tests.chart.rendering import (
    CHART,
    NAMESPACE,
    PRESETS,
    environment,
    helm,
    is_hook,
    kinds,
    one,
    render,
    text,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_controller_parses_the_queues_url(preset: str) -> None:
    settings = environment(render(preset))
    url = settings["KUBESWEEP_QUEUE"].replace("$(KUBESWEEP_QUEUE_USER)", "who")
    target = parse(url)  # the controller's parser
    provider: Any = target.options["credential_provider"]
    assert provider._path.as_posix() == "/run/kubesweep/admin/password"
    assert provider._username
    if "sentinel" in url:
        assert target.sentinel["credential_provider"]._path.as_posix() == "/run/kubesweep/admin/sentinel-password"
    assert settings["KUBESWEEP_QUEUE_USERS"] in ("per-namespace", "shared")


def test_each_installation_uses_the_expected_queue() -> None:
    found = {
        preset: (target.kind, target.tls, "ssl_ca_certs" in target.options, settings["KUBESWEEP_QUEUE_USERS"])
        for preset in PRESETS
        for settings in [environment(render(preset))]
        for target in [parse(settings["KUBESWEEP_QUEUE"])]
    }
    own = ("server", False, False, "per-namespace")
    assert found == {
        "cluster-redis": ("cluster", True, True, "shared"),
        "default": own,
        "everything": ("server", False, False, "shared"),
        "external-redis": ("server", True, True, "per-namespace"),
        "gitops": own,
        "managed-redis": ("server", True, False, "shared"),
        "namespaced": own,
        "second-release": own,
        "sentinel": ("sentinel", False, False, "shared"),
        "watch-namespaces": own,
    }


def test_an_external_redis_replaces_the_bundled_one_and_its_files_come_from_its_secret() -> None:
    objects = render("external-redis")
    assert kinds(objects, "StatefulSet", "PersistentVolumeClaim") == []
    assert [o["metadata"]["name"] for o in kinds(objects, "Secret") if not is_hook(o)] == []
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert queue["secret"] == {
        "secretName": "queue-credentials",
        "items": [{"key": "ca.crt", "path": "ca.crt"}, {"key": "password", "path": "password"}],
    }
    [_, queue] = one(render("sentinel"), "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"key": "sentinel", "path": "sentinel-password"} in queue["secret"]["items"]


def test_the_user_of_a_managed_redis_comes_from_its_secret() -> None:
    [container] = one(render("managed-redis"), "Deployment")["spec"]["template"]["spec"]["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert names.index("KUBESWEEP_QUEUE_USER") < names.index("KUBESWEEP_QUEUE")  # otherwise $(...) is not expanded
    assert environment(render("managed-redis"))["KUBESWEEP_QUEUE"].startswith("rediss://$(KUBESWEEP_QUEUE_USER)@queue.")


@pytest.mark.parametrize("preset", PRESETS)
def test_two_renderings_are_identical(preset: str) -> None:
    assert text(preset) == text.__wrapped__(preset)


def test_no_password_is_rendered_and_the_controller_gets_the_name_of_the_secret() -> None:
    objects = render()
    secret = one([o for o in objects if not is_hook(o)], "Secret")
    assert not {"data", "stringData"} & secret.keys()
    name = secret["metadata"]["name"]
    assert environment(objects)["KUBESWEEP_QUEUE_SECRET"] == name
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert (queue["secret"]["secretName"], queue["secret"]["optional"]) == (name, True), (
        "otherwise the controller, which creates it, cannot start"
    )
    [_, password, *_] = one(objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    assert (password["secret"]["secretName"], "optional" in password["secret"]) == (name, False)


@pytest.mark.parametrize("preset", ["gitops", "external-redis", "sentinel"])
def test_an_existing_password_is_required_and_never_generated(preset: str) -> None:
    objects = render(preset)
    assert "KUBESWEEP_QUEUE_SECRET" not in environment(objects)
    [_, queue] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert "optional" not in queue["secret"]


def test_an_existing_secret_replaces_the_charts() -> None:
    objects = render("gitops")
    assert kinds(objects, "Secret") == []


def test_an_upgrade_of_the_chart_does_not_restart_the_queue(tmp_path: Path) -> None:
    later = tmp_path / "kubesweep"
    shutil.copytree(CHART, later)
    meta = (later / "Chart.yaml").read_text()
    (later / "Chart.yaml").write_text(re.sub(r"^(version|appVersion): .*$", r'\1: "9.8.7"', meta, flags=re.MULTILINE))
    rendered = yaml.safe_load_all(helm("template", "ks", str(later), "--namespace", NAMESPACE))
    after = one([each for each in rendered if each], "StatefulSet")
    before = one(render(release="ks"), "StatefulSet")
    assert after["metadata"]["labels"] != before["metadata"]["labels"]
    assert after["spec"] == before["spec"]


def test_a_change_of_its_settings_restarts_the_queue() -> None:
    before, after = (one(render("default", *sets), "StatefulSet") for sets in ((), ("redis.maxmemory=64mb",)))
    assert before["spec"]["template"]["metadata"] != after["spec"]["template"]["metadata"]
