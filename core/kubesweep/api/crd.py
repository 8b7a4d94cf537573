"""The CustomResourceDefinition, generated from the models, so that files and the API server accept the same objects.

- The API server requires a *structural* schema: no references, no alternatives, and a type for every field.
- Every field has its default, because a rule of an object is checked after the defaults were filled in.
- In the status only observedGeneration has a default. Otherwise a status would never equal what the controller wrote.
"""

from __future__ import annotations

from typing import Any

from kubesweep.api.models import cel
from kubesweep.api.models.spec import API_VERSION, KIND, SweepSchedule
from kubesweep.api.models.status import Status

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "sweepschedules"

Schema = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "description",
    "enum",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    cel.RULES,
)

# kubectl shows a date in the future as <invalid>, so all of these are in the past.
_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS = (
    ("Schedule", "string", ".spec['schedule','every']", "When it fires: cron, or a period."),
    ("Suspend", "boolean", ".spec.suspend", "true: it fires no ticks."),
    ("Ready", "string", f"{_READY}.status", "True: everything was checked and is in place."),
    ("Last Sweep", "string", ".status.lastSweep.state", "State of the latest sweep, such as Running or Completed."),
    ("Queued", "integer", ".status.queue.ready", "Jobs that wait for a worker, without checks."),
    ("Dead", "integer", ".status.queue.dead", "Rows that are dead letters."),
    (
        "Last Success",
        "date",
        ".status.lastSuccessfulTime",
        "When a sweep last Completed and not all of its rows had failed.",
    ),
    ("Age", "date", ".metadata.creationTimestamp", ""),
)
_WIDE_COLUMNS = (
    ("Mode", "string", ".spec.mode", "Enforce or DryRun."),
    ("Reason", "string", f"{_READY}.reason", "Reason of the condition Ready."),
    ("Message", "string", f"{_READY}.message", "What was found, and what to do."),
)


def custom_resource_definition() -> dict[str, Any]:
    """The whole object, as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["sweep", "sweeps"],
                # `kubectl get all` shows it with its CronJob and Deployment. `kubectl delete all` then deletes it too;
                # otherwise the controller would create the deleted children again.
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": object_schema()},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def _columns() -> list[dict[str, Any]]:
    wide = {each[0] for each in _WIDE_COLUMNS}
    return [
        {
            "name": name,
            "type": kind,
            "jsonPath": path,
            **({"description": about} if about else {}),
            **({"priority": 1} if name in wide else {}),
        }
        for name, kind, path, about in (*_COLUMNS[:-1], *_WIDE_COLUMNS, _COLUMNS[-1])
    ]


def object_schema() -> Schema:
    """The structural schema of a SweepSchedule."""
    root = SweepSchedule.model_json_schema()
    fields, known = root["properties"], root["$defs"]
    name = structural(known["ScheduleMeta"]["properties"]["name"], known)
    status = structural(Status.model_json_schema())
    status["properties"]["observedGeneration"]["default"] = -1
    status["description"] = "What the controller found and did. Written by the controller only."
    # Otherwise a program that compares generations would regard an object that no controller has seen as ready.
    status["default"] = {"observedGeneration": -1}
    return {
        "type": "object",
        "description": root["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": fields["apiVersion"]["description"]},
            "kind": {"type": "string", "description": fields["kind"]["description"]},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural(fields["spec"], known, defaults=True),
            "status": status,
        },
    }


def structural(schema: Schema, known: Schema | None = None, *, defaults: bool = False) -> Schema:
    """A schema of pydantic as the API server accepts it. ``known`` has the targets of ``$ref``."""
    known = schema.get("$defs", {}) if known is None else known
    whole = _resolved(schema, known)
    made = {name: whole[name] for name in _KEPT if name in whole}
    if "const" in whole:
        made["enum"] = [whole["const"]]
    if defaults and whole.get("default") is not None:
        made["default"] = whole["default"]
    if isinstance(whole.get("additionalProperties"), dict) and "x-kubernetes-preserve-unknown-fields" not in whole:
        made["additionalProperties"] = structural(whole["additionalProperties"], known)
    if "items" in whole:
        made["items"] = structural(whole["items"], known, defaults=defaults)
        made.setdefault("x-kubernetes-list-type", "atomic")
    if "properties" in whole:
        made["properties"] = {
            name: structural(each, known, defaults=defaults) for name, each in whole["properties"].items()
        }
        optional = [name for name in made["properties"] if name not in whole.get("required", ())]
        for name in optional if defaults else ():
            _write_out_default(made["properties"][name], whole["properties"][name])
    return made


def _write_out_default(made: Schema, field: Schema) -> None:
    """Give a map whose model has a default_factory the defaults of its fields as its default."""
    if "$ref" in field and "properties" in made:
        made["default"] = {name: each["default"] for name, each in made["properties"].items() if "default" in each}


def _resolved(schema: Schema, known: Schema) -> Schema:
    """The schema with references resolved and without the null of an optional field. A field's own keywords win."""
    own = {name: each for name, each in schema.items() if name not in ("$ref", "anyOf", "allOf")}
    inner = [each for each in (*schema.get("anyOf", ()), *schema.get("allOf", ())) if each.get("type") != "null"]
    if "$ref" in schema:
        inner.append(known[schema["$ref"].rsplit("/", 1)[-1]])
    if len(inner) > 1:
        raise ValueError(f"a field with alternatives has no structural schema: {schema}")
    if not inner:
        return own
    below = _resolved(inner[0], known)
    rules = [*below.get(cel.RULES, ()), *own.get(cel.RULES, ())]
    return {**below, **own, **({cel.RULES: rules} if rules else {})}
