"""No byte of a report has a secret, and it says what it has and what it could not read."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings

from kubectl_sweep.report.contents import MANIFEST, Contents, archive
from kubectl_sweep.report.redaction import Redactor
from tests.unit.kubectl.test_redaction import OBJECTS, SECRETS


def opened(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        return {name: found.read(name).decode() for name in found.namelist()}


def made(contents: Contents, **options: Any) -> tuple[bytes, str]:
    return archive(contents, Redactor(**options), "A report")


@settings(max_examples=20, deadline=None)
@given(secret=SECRETS)
def test_no_secret_of_any_object_is_in_any_byte_of_the_archive(secret: str) -> None:
    contents = Contents(
        objects={f"objects/{place}.json": build(secret) for place, build in OBJECTS.items()},
        logs={
            "logs/a.log": f"starting with {secret}\n"
            + json.dumps({"level": "info", "message": secret, "who": [secret]}),
            f"logs/{quote(secret, safe='')}.log": secret,
        },
        texts={"why.txt": f"the pod says: {secret}"},
        missing=[(secret, f"refused because of {secret}")],
    )
    data, manifest = made(contents)
    for name, text in {"": manifest, **opened(data)}.items():
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret, safe=""),
        ):
            assert form not in text
            assert form not in name


def test_the_manifest_names_every_file_and_everything_that_is_missing() -> None:
    contents = Contents(
        objects={"schedules/shop/carts/pods.json": [{"metadata": {"name": "carts-worker-1"}}]},
        logs={"schedules/shop/carts/logs/carts-worker-1.worker.log": "hello"},
        missing=[("pods of the controller", "You need the right to list pods\nmore")],
    )
    data, manifest = made(contents)
    files = opened(data)
    assert files[MANIFEST] == manifest
    assert [name for name in files if name != MANIFEST and name not in manifest] == []
    assert "pods of the controller: You need the right to list pods\n" in manifest
    assert "No Secret was read." in manifest
    assert json.loads(files["schedules/shop/carts/pods.json"]) == [{"metadata": {"name": "carts-worker-1"}}]


def test_a_path_from_a_cluster_stays_inside_of_the_archive() -> None:
    data, _ = made(Contents(logs={"logs/../../../etc/pass wd": "x", "/root": "y"}))
    assert [name for name in opened(data) if name.startswith("/") or ".." in name.split("/") or " " in name] == []


def test_only_the_end_of_a_very_long_log_is_kept() -> None:
    data, _ = made(Contents(logs={"a.log": "begin\n" + "x y\n" * 600_000 + "end"}))
    text = opened(data)["a.log"]
    assert text.endswith("end")
    assert "begin" not in text
