"""The project's images: small, without a compiler, with a numeric user and a read-only root."""

from __future__ import annotations

import json
import re
import tarfile
from importlib.metadata import version

import pytest

from tests.cluster import images
from tests.kits.image_contents import contents
from tests.kits.kube_client import Namespace
from tests.kits.workloads import SECURE, pod_spec, product_image

MEGABYTES = {"controller": 50, "worker": 75}  # of /opt/kubesweep; docs/install.md has them
INSTALLERS = ("pip", "pip3", "cc", "gcc", "c++", "g++", "clang", "ld", "as", "make")
INSPECT = """
import json, os, pathlib
home = pathlib.Path("/opt/kubesweep")
def written():
    try:
        (home / "file").write_text("")
        return True
    except OSError as error:
        return error.strerror
print(json.dumps({
    "user": os.getuid(),
    "written": written(),
}))
"""


@pytest.mark.parametrize("name", ["controller", "worker"])
def test_an_image_runs_with_a_read_only_root_and_no_rights(namespace: Namespace, name: str) -> None:
    read_only = {"securityContext": SECURE | {"readOnlyRootFilesystem": True}}
    spec = pod_spec(product_image(name), ["python3", "-c", INSPECT], container=read_only, restartPolicy="Never")
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inspect"}, "spec": spec})
    assert namespace.ended("inspect")["status"]["phase"] == "Succeeded", namespace.logs("inspect")
    found = json.loads(namespace.logs("inspect"))
    assert found["user"] == 65532
    assert found["written"] == "Read-only file system"


@pytest.mark.parametrize(("name", "missing"), [("controller", "KUBESWEEP_QUEUE"), ("worker", "KUBESWEEP_PLAN")])
def test_the_program_of_an_image_names_missing_settings(namespace: Namespace, name: str, missing: str) -> None:
    read_only = {"securityContext": SECURE | {"readOnlyRootFilesystem": True}}
    command = {"controller": ["kubesweep-controller"], "worker": ["kubesweep-worker", "work"]}[name]
    spec = pod_spec(product_image(name), command, container=read_only, restartPolicy="Never")
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": spec})
    (status,) = namespace.ended("bare")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 2
    assert missing in namespace.logs("bare")


@pytest.mark.bed
@pytest.mark.parametrize("image", images.product(), ids=lambda image: image.target)
def test_an_image_has_what_its_sbom_names_and_nothing_else(image: images.Image) -> None:
    found = contents(image.archive)
    assert found.unowned() == set()
    assert {name.partition("@")[0] for name in found.sbom} >= {
        "pkg:pypi/kubesweep",
        "pkg:generic/cpython",
        "pkg:deb/debian/libc6",
    }
    assert f"pkg:pypi/kubesweep@{version('kubesweep')}" in found.sbom


@pytest.mark.bed
@pytest.mark.parametrize("image", images.product(), ids=lambda image: image.target)
def test_an_image_is_small_and_can_neither_gain_rights_nor_install_or_compile(image: images.Image) -> None:
    found = contents(image.archive)
    assert found.set_id == set()
    assert found.programs(*INSTALLERS) == set()
    assert {path for path in found.files if re.search(r"(^|/)(pip|ensurepip|setuptools)(/|-\d)", path)} == set()
    assert found.bytes_below("opt/kubesweep") < MEGABYTES[image.target] * 1_000_000


@pytest.mark.bed
@pytest.mark.parametrize("image", images.product(), ids=lambda image: image.target)
def test_an_image_has_its_labels(image: images.Image) -> None:
    with tarfile.open(image.archive) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))["config"]
    assert re.fullmatch(r"[0-9]+:[0-9]+", config["User"])
    label = "org.opencontainers.image"
    assert config["Labels"][f"{label}.version"] == version("kubesweep")
    assert config["Labels"][f"{label}.licenses"] == "Apache-2.0"
    assert {f"{label}.title", f"{label}.description"} <= config["Labels"].keys()
