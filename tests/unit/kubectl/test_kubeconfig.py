"""Kubeconfigs and logins that work, and those that do not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from kubectl_sweep.app import run
from kubectl_sweep.cluster.client import connect
from kubectl_sweep.cluster.options import ClusterOptions
from tests.unit.kubectl.api import Object, page, serve, write_kubeconfig


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code, capsys.readouterr().err


def test_a_missing_kubeconfig_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = shown(["get", "--kubeconfig", str(tmp_path / "none")], capsys)
    assert (code, f"{tmp_path}/none does not exist" in said, "--kubeconfig FILE" in said) == (2, True, True)


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "contexts: 5", "current-context: here"])
def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    code, said = shown(["get", "--kubeconfig", str(tmp_path / "kubeconfig")], capsys)
    assert code == 2
    assert str(tmp_path / "kubeconfig") in said
    assert "bug" not in said


def test_a_wrong_context_gets_the_list_of_contexts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    code, said = shown(["get", "--kubeconfig", file, "--context", "hear"], capsys)
    assert (code, "Did you mean here? It has: here." in said) == (2, True)


def test_a_kubeconfig_without_a_current_context_asks_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(write_kubeconfig(tmp_path, "http://127.0.0.1:1"))
    document = yaml.safe_load(file.read_text())
    document["current-context"] = ""
    file.write_text(yaml.safe_dump(document))
    code, said = shown(["get", "--kubeconfig", str(file)], capsys)
    assert (code, "has no current context" in said) == (2, True)


def exec_user(command: str) -> Object:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never"}}


def test_a_login_program_that_is_not_installed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_kubeconfig(tmp_path, "http://127.0.0.1:1", exec_user("no-such-login"))
    code, said = shown(["get", "--kubeconfig", file], capsys)
    assert (code, "its program no-such-login is not installed" in said) == (3, True)


def test_a_login_program_that_fails_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "login"
    program.write_text("#!/bin/sh\necho 'your session has expired' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    code, said = shown(
        ["get", "--kubeconfig", write_kubeconfig(tmp_path, "http://127.0.0.1:1", exec_user(str(program)))], capsys
    )
    assert (code, "your session has expired" in said) == (3, True)


def test_a_login_program_supplies_the_token(tmp_path: Path) -> None:
    program = tmp_path / "login"
    credential = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}'
    )
    program.write_text(f"#!/bin/sh\necho '{credential}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with serve(lambda request: page()) as api:
        connect(ClusterOptions(kubeconfig=write_kubeconfig(tmp_path, api.url, exec_user(str(program))))).schedules(
            "shop"
        )
    assert api.requests[0].headers["authorization"] == ["Bearer fresh"]


def test_the_namespace_is_that_of_the_option_else_of_the_context(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert connect(ClusterOptions(kubeconfig=file)).namespace == "shop"
    assert connect(ClusterOptions(kubeconfig=file, namespace="other")).namespace == "other"


def test_a_pod_without_a_service_account_needs_a_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, said = shown(["get"], capsys)
    assert (code, "this pod has no service account" in said, "--kubeconfig FILE" in said) == (2, True, True)
