"""examples/custom-image: the shop's image with Kubesweep installed by pip, and its handler called in a pod."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.cluster.images import BASE, Image, provide
from tests.cluster.testbed import REPOSITORY, Bed
from tests.kits.cluster_network import in_original_network
from tests.kits.kube_client import Cluster, Namespace
from tests.kits.releases import NAMESPACED, SCHEDULE, Release, swept
from tests.kits.workloads import start_postgres

EXAMPLE = REPOSITORY / "examples" / "custom-image"
SHOP, SWEEPER = "localhost/shop:1", "localhost/shop-sweeper:1"
CARTS = 300


@pytest.fixture
def image(tmp_path: Path) -> str:
    """The image of the example with the Kubesweep of this working tree."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(REPOSITORY)], check=True)
    wheel = f"/wheel/kubesweep-{version('kubesweep')}-py3-none-any.whl"
    shop = (EXAMPLE / "shop", EXAMPLE / "requirements.txt")
    product = tuple(REPOSITORY / name for name in ("core", "worker", "pyproject.toml"))
    parts = [
        Image(SHOP, EXAMPLE / "shop.Containerfile", "", EXAMPLE, shop, (f"BASE_IMAGE={BASE}",)),
        Image(
            SWEEPER,
            EXAMPLE / "Containerfile",
            "",
            EXAMPLE,
            (*shop, *product),
            (f"SHOP_IMAGE={SHOP}", f"KUBESWEEP={wheel}[worker]"),
            (f"{tmp_path}:/wheel",),
        ),
    ]
    in_original_network(lambda: provide(Bed.selected(), parts))
    return SWEEPER


@pytest.mark.bed
def test_a_handler_in_a_custom_image_is_called_for_each_row(cluster: Cluster, namespace: Namespace, image: str) -> None:
    cluster.apply((REPOSITORY / "manifests" / "crd.yaml").read_text())
    Release(namespace).install(NAMESPACED)
    postgres = start_postgres(namespace)
    login = f"postgres:{postgres.password}"
    (schedule,) = yaml.safe_load_all((EXAMPLE / "sweep.yaml").read_text())
    (secret,) = yaml.safe_load_all((EXAMPLE / "secret.yaml").read_text())
    secret["stringData"]["url"] = f"postgresql://{login}@{postgres.host}/postgres"
    schedule["spec"] |= {"schedule": "0 0 1 1 *", "worker": schedule["spec"]["worker"] | {"image": image}}
    schedule["metadata"]["annotations"] = {"kubesweep.dev/trigger": "first"}
    with namespace.forwarded(f"service/{postgres.service}", postgres.port) as port:
        local = f"postgresql://{login}@127.0.0.1:{port}/postgres"
        with closing(psycopg.connect(local, autocommit=True)) as shop:
            shop.execute((EXAMPLE / "schema.sql").read_bytes())
            shop.execute(
                "INSERT INTO carts (email, updated_at) SELECT g || '@example.com', now() - interval '2 days' "
                f"FROM generate_series(1, {CARTS}) g".encode()
            )
            namespace.apply(secret)
            namespace.apply(schedule)
            namespace.until(SCHEDULE, "abandoned-carts", swept(CARTS), what="all carts are swept", patience=120)
            mails = shop.execute("SELECT count(*), count(DISTINCT recipient) FROM outbox").fetchone()
    assert mails == (CARTS, CARTS)
