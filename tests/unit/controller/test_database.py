"""How a worker's pod gets its database credentials, and what an overlay may replace."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from kubesweep.api.database_url import Parts
from kubesweep_controller.children.overlay import merge
from tests.unit.controller.test_children import cronjob, deployment, env_of, producer_of, worker_of

FOLDER = "/run/kubesweep/database"
URL = {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}
CNPG = {"connection": {"secretRef": {"name": "shop-app"}}}
TOKEN = {
    "name": "token",
    "image": "corp/token:1",
    "restartPolicy": "Always",
    "volumeMounts": [{"name": "iam", "mountPath": "/out"}],
}


def pod(made: dict[str, Any]) -> dict[str, Any]:
    return dict(made["spec"]["template"]["spec"])


def overlay(*mounts: dict[str, Any], volumes: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, Any]:
    template = {
        "spec": {**spec, "volumes": list(volumes), "containers": [{"name": "worker", "volumeMounts": list(mounts)}]}
    }
    return {"podTemplate": template}


def made_with(source: dict[str, Any], worker: dict[str, Any] | None = None) -> dict[str, Any]:
    made = deployment(source={**source, "table": "carts"}, worker=worker or {})
    whole(pod(made))
    return made


def whole(spec: dict[str, Any]) -> None:
    """What the API server requires of any pod: one mount per path, a volume for each mount, one source per volume."""
    names = [each["name"] for each in spec["volumes"]]
    assert len(set(names)) == len(names)
    assert all(len(each.keys() - {"name"}) == 1 for each in spec["volumes"]), spec["volumes"]
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        mounts = container.get("volumeMounts", ())
        paths = [each["mountPath"].rstrip("/") for each in mounts]
        assert len(set(paths)) == len(paths), paths
        assert {each["name"] for each in mounts} <= set(names)


def mounted(made: dict[str, Any], folder: str = FOLDER) -> dict[str, Any] | None:
    """The worker's volume at that path."""
    found = [each["name"] for each in worker_of(made)["volumeMounts"] if each["mountPath"].rstrip("/") == folder]
    return next((each for each in pod(made)["volumes"] if each["name"] in found), None)


def test_the_parts_of_a_secret_are_mounted_by_their_own_names_and_only_those_that_are_read() -> None:
    connection = {"secretRef": {"name": "shop-db", "keys": {"username": "user"}}, "host": "shop-rw", "database": "shop"}
    made = made_with({"connection": connection})
    volume = mounted(made)
    assert volume is not None
    (one,) = volume["projected"]["sources"]
    assert (one["secret"]["name"], one["secret"]["optional"]) == ("shop-db", True)
    items = [("port", "port"), ("user", "username"), ("password", "password")]
    assert [(each["key"], each["path"]) for each in one["secret"]["items"]] == items
    env = env_of(worker_of(made))
    logged = msgspec.json.decode(env["KUBESWEEP_DATABASE_CONNECTION"], type=Parts)
    assert (logged.secret, logged.host, logged.database) == ("shop-db", "shop-rw", "shop")
    assert logged.keys == {"port": "port", "username": "user", "password": "password"}
    assert env["KUBESWEEP_DATABASE_DIR"] == FOLDER
    assert "KUBESWEEP_DATABASE_URL_FILE" not in env


def test_a_certificate_of_another_secret_is_in_the_same_volume() -> None:
    made = made_with(
        {"connection": {**CNPG["connection"], "caFrom": {"secretKeyRef": {"name": "shop-ca", "key": "tls"}}}}
    )
    volume = mounted(made)
    assert volume is not None
    assert [each["secret"]["name"] for each in volume["projected"]["sources"]] == ["shop-app", "shop-ca"]
    assert volume["projected"]["sources"][1]["secret"]["items"] == [{"key": "tls", "path": "ca.crt"}]


@pytest.mark.parametrize(
    "source",
    [
        {"urlFrom": {"file": "/run/iam/url"}},
        {"connection": {"host": "db", "database": "d", "username": "u", "passwordFile": "/run/iam/token"}},
        {"connection": {"host": "/run/proxy", "database": "d", "username": "u"}},
    ],
)
def test_what_comes_from_files_of_the_users_own_needs_no_volume_of_ours(source: dict[str, Any]) -> None:
    own = overlay(
        {"name": "iam", "mountPath": "/run/iam"}, volumes=({"name": "iam", "emptyDir": {}},), initContainers=[TOKEN]
    )
    made = made_with(source, own)
    assert mounted(made) is None
    assert mounted(made, "/run/iam") == {"name": "iam", "emptyDir": {}}
    assert "database" not in [each["name"] for each in pod(made)["volumes"]]
    assert "KUBESWEEP_DATABASE_SECRET" not in env_of(worker_of(made))


@pytest.mark.parametrize("source", [URL, CNPG])
@pytest.mark.parametrize("path", [FOLDER, FOLDER + "/"])
def test_a_mount_at_our_folder_takes_the_place_of_ours_and_a_native_sidecar_stays_one(
    source: dict[str, Any], path: str
) -> None:
    memory = {"name": "iam", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    own = overlay(
        {"name": "iam", "mountPath": path, "readOnly": True},
        volumes=(memory,),
        initContainers=[TOKEN],
        serviceAccountName="shop-db-iam",
    )
    made = made_with(source, own)
    assert mounted(made) == memory
    assert pod(made)["initContainers"] == [TOKEN]
    assert pod(made)["serviceAccountName"] == "shop-db-iam"
    assert "database" not in [each["name"] for each in pod(made)["volumes"]]
    env = env_of(worker_of(made))
    assert "KUBESWEEP_DATABASE_SECRET" not in env
    if source is URL:
        assert env["KUBESWEEP_DATABASE_URL_FILE"] == f"{FOLDER}/url"
    else:
        assert env["KUBESWEEP_DATABASE_VOLUME"] == "iam"


@pytest.mark.parametrize(
    "volume", [{"csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}}, {"secret": {"secretName": "other"}}]
)
def test_a_volume_of_our_name_takes_the_place_of_ours_too(volume: dict[str, Any]) -> None:
    made = made_with(URL, overlay(volumes=({"name": "database", **volume},)))
    found = mounted(made)
    assert found is not None
    assert found.keys() == {"name", *volume}
    assert "KUBESWEEP_DATABASE_SECRET" not in env_of(worker_of(made))


def test_our_volume_with_another_mode_is_still_ours_and_a_sidecar_may_read_it() -> None:
    reader = {"name": "token", "image": "t:1", "volumeMounts": [{"name": "database", "mountPath": "/in"}]}
    moded = made_with(URL, overlay(volumes=({"name": "database", "secret": {"defaultMode": 288}},)))
    assert env_of(worker_of(moded))["KUBESWEEP_DATABASE_SECRET"] == "shop-db/url"
    own = overlay(
        {"name": "iam", "mountPath": FOLDER}, volumes=({"name": "iam", "emptyDir": {}},), initContainers=[reader]
    )
    read = made_with(URL, own)
    assert mounted(read) == {"name": "iam", "emptyDir": {}}
    assert "database" in [each["name"] for each in pod(read)["volumes"]]


def test_user_variables_cannot_replace_the_database_address() -> None:
    env = [{"name": "KUBESWEEP_DATABASE_CONNECTION", "value": "{}"}, {"name": "A", "value": "b"}]
    logged = env_of(worker_of(made_with(URL, {"env": env})))
    assert logged["A"] == "b"
    assert "KUBESWEEP_DATABASE_CONNECTION" not in logged
    assert env_of(worker_of(made_with(CNPG, {"env": env})))["KUBESWEEP_DATABASE_CONNECTION"] != "{}"


def test_a_tick_needs_no_database_credentials_and_may_mount_anything() -> None:
    template = overlay({"name": "iam", "mountPath": FOLDER}, volumes=({"name": "iam", "emptyDir": {}},))["podTemplate"]
    template["spec"]["containers"][0]["name"] = "producer"
    made = cronjob(source={**CNPG, "table": "carts"}, tick={"podTemplate": template})
    whole(made["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    assert not [name for name in env_of(producer_of(made)) if "DATABASE" in name]


def test_volumes_are_merged_by_source_and_mounts_by_path_without_changing_what_is_laid_over() -> None:
    base = {"volumes": [{"name": "a", "secret": {"secretName": "s"}}, {"name": "tmp", "emptyDir": {}}]}
    over = {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]}
    before = copy.deepcopy((base, over))
    assert merge(base, over) == over
    # null, which older versions required, still works.
    assert merge(base, {"volumes": [{"name": "a", "secret": None, "emptyDir": {}}]})["volumes"][0] == {
        "name": "a",
        "emptyDir": {},
    }
    assert (base, over) == before
