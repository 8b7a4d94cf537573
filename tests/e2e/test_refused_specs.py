"""Specs that only the controller rejects: a condition and an Event say what to do, no child is created, and a corrected file fixes it.

The test applies every row of docs/errors.md that ends as a condition, all at once.
"""

from __future__ import annotations

import copy
from typing import Any

import yaml

from kubesweep_controller.kube.client import CRONJOBS, DEPLOYMENTS, EVENTS, SCHEDULES
from tests.kits.controller_environment import ControllerEnvironment
from tests.kits.invalid_specs import IGNORE, base, change, cluster_rows
from tests.kits.kubectl import kubectl_output
from tests.kits.polling import until

ROWS = [row for row in cluster_rows() if row.ignoring.startswith("condition ")]


def schedule(env: ControllerEnvironment, number: int, *edits: str) -> dict[str, Any]:
    documents = {each["kind"]: copy.deepcopy(each) for each in yaml.safe_load_all(base())}
    made: dict[str, Any] = documents["SweepSchedule"]
    made["metadata"] = {"name": f"row-{number}", "namespace": env.namespace}
    for edit in edits:
        change(documents, edit)
    return made


def apply(documents: list[dict[str, Any]]) -> None:
    kubectl_output("apply", IGNORE, "-f", "-", stdin=yaml.safe_dump_all(documents, allow_unicode=True))


async def messages(env: ControllerEnvironment) -> dict[str, str]:
    """The message of Ready=False with the reason InvalidSpec, by schedule."""
    return {
        body["metadata"]["name"]: condition["message"]
        for body in await env.api.list(SCHEDULES, env.namespace)
        for condition in body.get("status", {}).get("conditions", ())
        if (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "InvalidSpec")
        and condition["observedGeneration"] == body["metadata"]["generation"]
    }


async def test_every_invalid_spec_is_a_condition_and_an_event_until_corrected(
    env: ControllerEnvironment,
) -> None:
    assert len(ROWS) >= 25
    await env.start_controller()
    apply([schedule(env, number, *row.change.split(" ; ")) for number, row in enumerate(ROWS)])

    async def all_refused() -> bool:
        return len(await messages(env)) == len(ROWS)

    await until(all_refused)
    found = await messages(env)
    wanted = {
        f"row-{number}": "; ".join(row.ignoring.removeprefix("condition ").split("<br>"))
        for number, row in enumerate(ROWS)
    }
    assert {name: text for name, text in found.items() if not text.startswith(wanted[name])} == {}
    events = [each for each in await env.api.list(EVENTS, env.namespace) if each["reason"] == "InvalidSpec"]
    assert {each["regarding"]["name"] for each in events} == wanted.keys()
    assert all(
        each["type"] == "Warning" and each["note"][:40] == wanted[each["regarding"]["name"]][:40] for each in events
    )
    for kind in (DEPLOYMENTS, CRONJOBS):
        assert await env.api.list(kind, env.namespace) == []

    # Suspended, so that no pod is started for any of them.
    apply([schedule(env, number, "spec.suspend=true") for number in range(len(ROWS))])

    async def none_refused() -> bool:
        return not await messages(env) and len(await env.api.list(DEPLOYMENTS, env.namespace)) == len(ROWS)

    await until(none_refused)
