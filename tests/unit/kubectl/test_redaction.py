"""No secret reaches a report, whatever it is made of and wherever it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_sweep.report.redaction import Redactor
from kubectl_sweep.report.secret_texts import looks_secret, mask_text

# No blanks around it, because a program strips them; one line, because a log has lines.
SECRETS = st.text(
    st.sampled_from("abcXYZ0189!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\"äß漢\U0001f600 "), min_size=8, max_size=40
).filter(lambda text: text == text.strip() and any(map(str.isalpha, text)) and any(map(str.isdigit, text)))
WORDS = st.text(st.sampled_from("abcdXYZ0189-_.~"), min_size=8, max_size=40).filter(
    lambda text: any(map(str.isalpha, text)) and any(map(str.isdigit, text))
)


def pod(container: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "carts-worker-1", "namespace": "shop", **meta},
        "spec": {"containers": [{"name": "worker", **container}]},
    }


OBJECTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "a variable with a telling name": lambda secret: pod({"env": [{"name": "DB_PASSWORD", "value": secret}]}),
    "a variable with any name": lambda secret: pod({"env": [{"name": "GREETING", "value": secret}]}),
    "an argument": lambda secret: pod({"command": ["app", f"--key={secret}"], "args": [secret]}),
    "a header of a probe": lambda secret: pod(
        {"livenessProbe": {"httpGet": {"path": "/", "httpHeaders": [{"name": "X", "value": secret}]}}}
    ),
    "an annotation": lambda secret: pod({}, annotations={"example.com/note": secret}),
    "what was last applied": lambda secret: pod(
        {},
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(pod({"env": [{"name": "A", "value": secret}]}))
        },
    ),
    "data of a Secret": lambda secret: {"kind": "Secret", "stringData": {"x": secret}, "data": {"y": base64.b64encode(secret.encode()).decode()}},
    "a field with a telling name": lambda secret: {"status": {"clientSecret": secret, "apiKey": [secret]}},
    "an attribute of a volume": lambda secret: {"spec": {"volumes": [{"csi": {"volumeAttributes": {"x": secret}}}]}},
    "the managed fields": lambda secret: pod({}, managedFields=[{"manager": secret}]),
}  # fmt: skip
IN_TEXTS: dict[str, Callable[[str], str]] = {
    "a password in a URL": lambda secret: (
        f"cannot connect to postgresql://shop:{quote(secret, safe='')}@db:5432/shop, try again"
    ),
    "a query": lambda secret: f"GET https://example.com/a?x={quote(secret, safe='')} failed",
    "a path of a webhook": lambda secret: f"POST https://hooks.example.com/services/{quote(secret, safe='')}: 500",
    "an assignment": lambda secret: f"connecting with password={secret}",
    "a header": lambda secret: f"< Authorization: Bearer {secret}",
    "a dictionary": lambda secret: f"settings: {{'api_key': {secret!r}}}",
    "YAML": lambda secret: f"clientSecret: {secret}",
    "a key in PEM": lambda secret: f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("place", OBJECTS)
@settings(max_examples=40, deadline=None)
@given(secret=SECRETS)
def test_a_secret_in_an_object_is_in_no_object_and_in_no_text(place: str, secret: str) -> None:
    redactor, body = Redactor(), OBJECTS[place](secret)
    redactor.learn(body)
    assert_gone(secret, json.dumps(redactor.object(body), ensure_ascii=False))


@pytest.mark.parametrize("place", [each for each in OBJECTS if each != "the managed fields"])
@settings(max_examples=20, deadline=None)
@given(secret=SECRETS)
def test_a_secret_of_an_object_is_removed_from_the_logs(place: str, secret: str) -> None:
    redactor = Redactor()
    redactor.learn(OBJECTS[place](secret))
    log = "\n".join(
        [
            f"the value is {secret}",
            json.dumps({"level": "info", "message": f"the value is {secret}", "extra": [secret], secret: 1}),
            quote(secret, safe=""),
            json.dumps(json.dumps(secret)),
            base64.b64encode(secret.encode()).decode(),
        ]
    )
    shown = redactor.log(log)
    for form in (
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode().rstrip("="),
    ):
        assert form not in shown


@pytest.mark.parametrize("place", IN_TEXTS)
@settings(max_examples=40, deadline=None)
@given(secret=WORDS)
def test_a_secret_in_a_text_is_found_by_its_shape(place: str, secret: str) -> None:
    redactor, text = Redactor(), IN_TEXTS[place](secret)
    assert secret not in redactor.text(text)
    assert secret not in json.dumps(redactor.object({"status": {"message": text}}))
    assert secret not in redactor.log(json.dumps({"level": "info", "message": text}) + "\n")


@given(secret=SECRETS.filter(lambda text: "\\" not in text))
def test_the_rest_of_a_line_is_removed_with_a_secret_of_any_characters(secret: str) -> None:
    assert secret not in mask_text(f"password: {secret}")
    assert secret not in mask_text(f'{{"token": "{secret}", "rows": 3')


def assert_gone(secret: str, text: str) -> None:
    assert secret not in text
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "value", "env", "annotations", "data", "key", "args", "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_an_object_of_any_shape_can_be_redacted(value: Any) -> None:
    redactor = Redactor()
    redactor.learn(value)
    json.dumps(redactor.object(value))


@given(text=st.text())
def test_any_text_can_be_redacted_and_stays_so(text: str) -> None:
    redactor = Redactor()
    assert redactor.log(text).count("\n") == text.count("\n") or "-----BEGIN" in text
    mask_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "dbPassword",
        "X-Api-Key",
        "Authorization",
        "clientSecret",
        "GITHUB_TOKEN",
        "DATABASE_URL",
        "pgpass",
        "SMTP_PASS",
        "auth",
    ],
)
def test_names_of_secrets_are_recognized(name: str) -> None:
    assert looks_secret(name) is (name != "pgpass")


@pytest.mark.parametrize(
    "name",
    [
        "secretName",
        "secretKeyRef",
        "imagePullSecrets",
        "automountServiceAccountToken",
        "mapping",
        "author",
        "keys",
        "salting",
        "message",
    ],
)
def test_references_and_ordinary_names_are_not(name: str) -> None:
    assert not looks_secret(name)


def test_what_explains_a_problem_stays() -> None:
    texts = [
        'SecretMissing: the Secret "shop-db" has no entry "url"',
        "InvalidPassword: the server refuses the user shop",
        "3 rows applied, 2 dead in 4.2 s",
        "the database db.shop.svc:5432 cannot be reached",
        "redis://queue.kubesweep.svc:6379/0",
    ]
    redactor = Redactor()
    assert [redactor.text(each) for each in texts] == texts


def test_references_of_an_object_stay() -> None:
    body = pod(
        {
            "image": "registry.example/shop:1",
            "command": ["kubesweep-worker", "work"],
            "env": [
                {"name": "KUBESWEEP_LOG_LEVEL", "value": "info"},
                {"name": "DB", "valueFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
            ],
        },
        annotations={"kubesweep.dev/applied": "abc"},
    )
    redactor = Redactor()
    redactor.learn(body)
    assert redactor.object(body) == body


def test_a_plan_is_shown_without_the_path_of_its_webhook() -> None:
    plan = json.dumps(
        {"name": "carts", "effect": {"webhook": {"url": "https://hooks.example.com/T0/hunter2hunter2"}}, "key": ["id"]}
    )
    (shown,) = Redactor().object(pod({"env": [{"name": "KUBESWEEP_PLAN", "value": plan}]}))["spec"]["containers"][0][
        "env"
    ]
    assert json.loads(shown["value"]) == {
        "name": "carts",
        "effect": {"webhook": {"url": "https://hooks.example.com/***"}},
        "key": ["id"],
    }


STATUS = {
    "errors": [{"error": "CheckViolation", "count": 3, "sampleKeys": ['["eu-customer","1712"]'], "message": "Key (id)=(1712) is refused"}],
    "lastSweep": {"planned": 3, "sampleKeys": ["9314"], "proposal": {"rows": 3, "sampleKeys": ["9314"]}},
    "conditions": [{"type": "Degraded", "message": '3 rows died (such as ["eu-customer","1712"])'}],
}  # fmt: skip


def test_keys_of_rows_are_removed_unless_they_are_wanted() -> None:
    redactor = Redactor()
    redactor.learn({"status": STATUS})
    shown = json.dumps(redactor.object({"status": STATUS})) + redactor.log(
        '{"message": "row 1712", "level": "info", "key": "7"}'
    )
    assert [each for each in ("1712", "9314", "eu-customer", '"7"') if each in shown] == []
    assert redactor.object({"status": STATUS})["status"]["lastSweep"]["planned"] == 3
    kept = Redactor(with_keys=True)
    kept.learn({"status": STATUS})
    assert kept.object({"status": STATUS}) == {"status": STATUS}


def test_a_number_that_is_a_secret_is_removed_as_a_number_too() -> None:
    redactor = Redactor()
    redactor.learn({"password": 83929172})
    assert redactor.object({"password": 83929172, "n": 83929172, "rows": 3}) == {
        "password": "***",
        "n": "***",
        "rows": 3,
    }


def test_names_of_objects_are_never_taken_for_values_without_a_telling_name() -> None:
    body = pod({"env": [{"name": "SHOP", "value": "shop-production-1"}]})
    plain, named = Redactor(), Redactor(names=["shop-production-1"])
    for each in (plain, named):
        each.learn(body)
    assert plain.text("in shop-production-1") == "in ***"
    assert named.text("in shop-production-1") == "in shop-production-1"
