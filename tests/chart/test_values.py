"""Values that the chart rejects, and the agreement of values and schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, Refused, render, text

EXTERNAL = "redis.enabled=false"
SECRET = "externalRedis.existingSecret.name=queue"
LATER = json.dumps([{"apiVersion": "kubesweep.dev/v1alpha1", "kind": "SweepSchedule", "metadata": {"name": "x"}}])


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        (["controler.replicas=2"], "additional properties 'controler' not allowed"),
        (["controller.replica=2"], "at '/controller': additional properties 'replica' not allowed"),
        (["controller.image.tga=1"], "at '/controller/image': additional properties 'tga'"),
        (["redis.persistence.enable=true"], "at '/redis/persistence': additional properties 'enable'"),
        (["redis.url=redis://h"], "at '/redis': additional properties 'url'"),
        (["externalRedis.password=x"], "at '/externalRedis': additional properties 'password'"),
        (["externalRedis.existingSecret=queue"], "at '/externalRedis/existingSecret': got string, want object"),
        (["crds.install=true"], "at '/crds': additional properties 'install'"),
        (["metrics.serviceMonitor.enabled=yes-please"], "at '/metrics/serviceMonitor/enabled': got string"),
        (["controller.replicas=3"], "at '/controller/replicas': maximum: got 3, want 2"),
        (["controller.logLevel=verbose"], "at '/controller/logLevel': value must be one of"),
        (["controller.image.digest=latest"], "at '/controller/image/digest': 'latest' does not match"),
        (["controller.image.pullPolicy=Sometimes"], "at '/controller/image/pullPolicy'"),
        (["controller.resources.limit.cpu=1"], "at '/controller/resources': additional properties 'limit'"),
        (["controller.affinity.nodeAfinity.x=1"], "at '/controller/affinity': additional properties 'nodeAfinity'"),
        (["keda.pollingInterval=0"], "at '/keda/pollingInterval': minimum: got 0, want 1"),
        (["redis.maxmemory=2GiB"], "at '/redis/maxmemory'"),
        (["redis.persistence.size=big"], "at '/redis/persistence/size'"),
        (["watchNamespaces={Shop}"], "at '/watchNamespaces/0': 'Shop' does not match"),
        (["imagePullSecrets={Log_In}"], "at '/imagePullSecrets/0'"),
        ([EXTERNAL, SECRET, "externalRedis.url=http://h"], "at '/externalRedis/url': 'http://h' does not match"),
        (["externalRedis.url=redis://h:6379"], "set redis.enabled=false to use your own Redis"),
        ([EXTERNAL], "externalRedis.url: name the queue"),
        ([EXTERNAL, "externalRedis.url=redis://h"], "externalRedis.existingSecret.name: name the Secret"),
        ([EXTERNAL, SECRET, "externalRedis.url=redis://u:p@h"], "remove the password"),
        ([EXTERNAL, SECRET, "externalRedis.url=redis://h?password_file=/x"], "remove the password"),
        (
            [EXTERNAL, SECRET, "externalRedis.url=rediss://h?ssl_ca_certs=/x"],
            "its key in externalRedis.existingSecret.caKey",
        ),
        (
            [EXTERNAL, SECRET, "externalRedis.url=redis://h", "externalRedis.existingSecret.caKey=ca.crt"],
            "a certificate authority needs TLS",
        ),
        (
            [EXTERNAL, SECRET, "externalRedis.url=redis://h", "externalRedis.existingSecret.sentinelPasswordKey=s"],
            "externalRedis.url names no Sentinels",
        ),
        ([EXTERNAL, SECRET, "externalRedis.url=rediss+sentinel://u@h?db=1"], "name of the Sentinel service is missing"),
        ([EXTERNAL, SECRET, "externalRedis.url=redis+sentinel://h:26379/"], "name of the Sentinel service is missing"),
        (
            [EXTERNAL, SECRET, "externalRedis.url=redis://u@h", "externalRedis.existingSecret.usernameKey=user"],
            "Name the user in one place",
        ),
        (["namespaced=true", "watchNamespaces={shop}"], "namespaced and watchNamespaces: set one of them"),
        (["serviceAccount.create=false"], "name an existing ServiceAccount"),
        (["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"], "Set metrics.service.enabled=true"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_key(sets: list[str], error: str) -> None:
    with pytest.raises(Refused) as refused:
        text("default", *sets)
    assert error in str(refused.value)
    assert "u:p@h" not in str(refused.value)


def test_a_schedule_cannot_come_with_its_crd_in_one_release() -> None:
    with pytest.raises(Refused, match="a SweepSchedule cannot be installed together with its CRD"):
        render("default", json=f"extraObjects={LATER}")
    assert render("default", "crds.enabled=false", json=f"extraObjects={LATER}")[-1]["kind"] == "SweepSchedule"


def leaves(schema: dict[str, Any], values: object, path: str = "") -> list[str]:
    """Keys that only the schema or only the values have."""
    found: list[str] = []
    schema = DEFINITIONS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if not isinstance(values, dict) or "properties" not in schema:
        return found
    if schema.get("additionalProperties") is not False:
        found.append(f"{path}: additionalProperties is not false")
    known = schema["properties"]
    found += [f"{path}.{key}" for key in known.keys() ^ values.keys() if key not in ("global", "claims")]
    for key in known.keys() & values.keys():
        found += leaves(known[key], values[key], f"{path}.{key}")
    return found


SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFINITIONS = SCHEMA["$defs"]


def test_schema_and_values_have_the_same_keys() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found = leaves(SCHEMA, values)
    # Parts of a pod's spec, whose keys need no default.
    defaults = [
        f".worker.defaults.{part}" for part in ("resources.", "podTemplate.", "tick.resources.", "tick.podTemplate.")
    ]
    allowed = (".controller.affinity.", ".redis.affinity.", *defaults)
    assert [key for key in found if not key.startswith(allowed)] == []


def test_a_subchart_accepts_global_values() -> None:
    assert render("default", "global.anything=1")
