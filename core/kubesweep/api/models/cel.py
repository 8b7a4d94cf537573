"""Rules in CEL that the API server checks. Each is in a model, next to the Python check of the same condition.

A rule must accept everything that the model accepts, so that files and clusters agree. Its ``reason`` decides the wording of
the API server: FieldValueInvalid shows the given value, which helps for a text but hides the sentence for an object. Rules of
objects are therefore FieldValueRequired or FieldValueForbidden.
"""

from __future__ import annotations

from pydantic import ConfigDict, JsonValue

from kubesweep import durations

RULES = "x-kubernetes-validations"
Rule = dict[str, str]

# Names that CEL reserves are written between underscores.
_KEYWORDS = frozenset({"in", "for", "if", "else", "namespace", "true", "false", "null"})
_UNITS = {unit.replace("ms", "x"): size for unit, size in durations.UNITS.items()}


def rule(cel: str, message: str) -> Rule:
    """A rule of a scalar."""
    return {"rule": cel, "message": message}


def missing(cel: str, message: str, at: str = "") -> Rule:
    """A rule for an object that lacks something, such as the field ``at``."""
    return {"rule": cel, "message": message, "reason": "FieldValueRequired", **({"fieldPath": f".{at}"} if at else {})}


def forbidden(cel: str, message: str, at: str = "") -> Rule:
    """A rule for an object whose fields exclude each other."""
    return {"rule": cel, "message": message, "reason": "FieldValueForbidden", **({"fieldPath": f".{at}"} if at else {})}


def schema(*rules: Rule) -> dict[str, JsonValue]:
    """The JSON schema keywords of a field with these rules."""
    return {RULES: [dict(each) for each in rules]}


def checked(*rules: Rule) -> ConfigDict:
    """The ``model_config`` of a model with these rules."""
    return ConfigDict(json_schema_extra=schema(*rules))


def has(name: str) -> str:
    return f"has(self.{f'__{name}__' if name in _KEYWORDS else name})"


def one_of(*names: str) -> tuple[Rule, Rule]:
    """Exactly one of these fields is given."""
    given = [has(name) for name in names]
    text = f"needs exactly one of {', '.join(names)}"
    several = f"!({' && '.join(given)})" if len(given) == 2 else f"[{', '.join(given)}].filter(each, each).size() < 2"
    count = "both" if len(given) == 2 else "several"
    return missing(" || ".join(given), f"{text}; none is given"), forbidden(several, f"{text}; {count} are given")


def distinct(sentence: str, of: str = "") -> Rule:
    """No two items of a list are the same, or have the same field ``of``."""
    field = f".{of}" if of else ""
    return forbidden(f"self.all(one, self.exists_one(other, other{field} == one{field}))", sentence)


def quoted(text: str) -> str:
    """A CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def matches(pattern: str, self: str = "self") -> str:
    return f"{self}.matches({quoted(pattern)})"


def milliseconds(text: str) -> str:
    """A list of one number: the duration at the end of ``text`` in milliseconds.

    CEL's own ``duration()`` has no days and ends at 292 years, so the parts are added up. None can overflow in a text of the
    right shape.
    """
    parts = [f"int('0' + text.find('[0-9]+{unit}').replace('{unit}', '')) * {size}" for unit, size in _UNITS.items()]
    return f"[{text}.replace('ms', 'x')].map(text, {' + '.join(parts)})"


def duration(least: str, most: str) -> list[Rule]:
    """A duration between two others, both included."""
    low, high = (round(durations.parse_duration(each) * 1000) for each in (least, most))
    shape = matches(durations.PATTERN)
    return [
        rule(f"self != '' && {shape}", f"{durations.HELP}, the largest unit first"),
        rule(
            f"!{shape} || {milliseconds('self')}.all(ms, {low} <= ms && ms <= {high})",
            f"must be between {least} and {most}",
        ),
    ]


def at_most(short: str, long: str) -> str:
    """True if ``short`` is not longer than ``long``, or if one of them is no duration, which its own rule refuses."""
    shapes = f"{matches(durations.PATTERN, short)} && {matches(durations.PATTERN, long)}"
    return f"!({shapes}) || {milliseconds(short)}[0] <= {milliseconds(long)}[0]"


def age(most: str) -> list[Rule]:
    """``now`` or ``now-<duration>``."""
    shape = matches(f"^now(-{durations.PATTERN.removeprefix('^').removesuffix('$')})?$")
    high = round(durations.parse_duration(most) * 1000)
    return [
        rule(f"{shape} && !self.endsWith('-')", 'write "now" or "now-<duration>", such as "now-30m" or "now-1h30m"'),
        rule(f"!{shape} || {milliseconds('self')}[0] <= {high}", f"must not be longer ago than {most}"),
    ]
