"""The questions of ``kubesweep init``: what it cannot read from the table. Each has an option, and most have a default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from kubesweep.errors import SpecError
from kubesweep.text import did_you_mean
from kubesweep.ticks import find_zone
from kubesweep_cli.init import defaults
from kubesweep_cli.init.answers import (
    NONE,
    Action,
    Answers,
    Condition,
    Period,
    Write,
    parse_action,
    parse_age,
    parse_condition,
    parse_name,
    parse_period,
    parse_sets,
    parse_table,
)
from kubesweep_cli.init.asker import Asker, Question
from kubesweep_cli.init.proposal import changed_children, values_text
from kubesweep_worker.sources.facts import ColumnFacts, TableFacts

__all__ = ["Given", "complete"]

MOST_COLUMNS = 12  # that are listed
ANY = f"{NONE} for any"


@dataclass(frozen=True, slots=True)
class Given:
    """The options, as typed; None or empty: not given."""

    time: str | None = None
    older_than: str | None = None
    time_zone: str | None = None
    where: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    delete: bool = False
    archive_to: str | None = None
    webhook: str | None = None
    handler: str | None = None
    every: str | None = None
    schedule: str | None = None
    name: str | None = None
    accept_children: bool = False


def complete(asker: Asker, table: TableFacts, given: Given) -> Answers:
    time, age, zone = _staleness(asker, table, given)
    # Without its age, a row would be stale by its status alone. Nobody said so where a column is meant as a time.
    unsure = time is None and given.time is None and bool(defaults.unread_times(table))
    where = _where(asker, table, given, needed=time is None, unsure=unsure)
    action = _action(asker, table, given, where)
    accept = _children(asker, table, given, action)
    period = _period(asker, given, age)
    name = asker.answer(
        Question("Name of the schedule", "--name NAME", parse_name, defaults.name_text(table.table, action)), given.name
    )
    return Answers(time, age, zone, where, action, period, name, accept)


def _known(table: TableFacts, name: str) -> ColumnFacts:
    found = table.columns.get(name)
    if found is None:
        raise ValueError(f'no column "{name}"{did_you_mean(name, table.columns) or f"; {_listed(table)}"}')
    return found


def _listed(table: TableFacts) -> str:
    names = list(table.columns)
    more = f" and {len(names) - MOST_COLUMNS} more" if len(names) > MOST_COLUMNS else ""
    return f"the columns are {', '.join(names[:MOST_COLUMNS])}{more}"


def _staleness(asker: Asker, table: TableFacts, given: Given) -> tuple[str | None, str, str]:
    """The time column, the age, and the zone of its times."""
    times = defaults.time_columns(table)

    def parse(text: str) -> ColumnFacts | None:
        if text == NONE:
            return None
        column = _known(table, text)
        if not column.moment:
            found = f"; those with times are {', '.join(each.name for each in times)}" if times else ""
            raise ValueError(f'column "{text}" is {column.type}, which is no time{found}')
        return column

    if not times and given.time is None:
        if unread := defaults.unread_times(table):
            named = ", ".join(f"{each.name} ({each.type or 'no type'})" for each in unread[:MOST_COLUMNS])
            asker.say(
                f"{table.quoted} has no column whose type and values are times. Named like a time: {named}. "
                "Compare it with sql in spec.match of the file."
            )
        else:
            asker.say(f"{table.quoted} has no column with times, so age cannot matter; {_listed(table)}.")
        column = None
    else:
        default = times[0].name if times else NONE
        shown = (f"{each.name}: {each.type}{'' if each.not_null else ', may be NULL'}" for each in times[:MOST_COLUMNS])
        help_lines = ("A row is stale by its age. Columns with times:", *(f"  {line}" for line in shown))
        column = asker.answer(
            Question(f"Time column ({ANY} age)", "--time COLUMN", parse, default, help_lines), given.time
        )
    if column is None:
        return None, "", ""
    age = asker.answer(
        Question("Stale when older than (0: at that time)", "--older-than AGE", parse_age, defaults.age_text(column)),
        given.older_than,
    )
    return column.name, age, _zone(asker, table, column, given)


def _zone(asker: Asker, table: TableFacts, column: ColumnFacts, given: Given) -> str:
    if column.moment not in ("naive", "date") or (table.time_zone == "UTC" and given.time_zone is None):
        return ""

    def parse(text: str) -> str:
        find_zone(text)
        return text

    try:
        default = parse(table.time_zone)
    except ValueError:
        default = "UTC"
    why = (
        f"Times of {column.name} have no zone. The role's TimeZone is {table.time_zone}; an application may write UTC."
    )
    return asker.answer(Question("Zone of these times", "--time-zone ZONE", parse, default, (why,)), given.time_zone)


def _where(
    asker: Asker, table: TableFacts, given: Given, *, needed: bool, unsure: bool = False
) -> tuple[Condition, ...]:
    """``needed``: at least one condition. ``unsure``: none is proposed."""

    def parse(text: str) -> Condition:
        condition = parse_condition(text)
        column = _known(table, condition.column)
        for value in condition.values:
            if column.choices and value not in column.choices:
                hint = did_you_mean(value, column.choices) or f"; it has {', '.join(column.choices)}"
                raise ValueError(f'"{value}" is no value of column "{column.name}"{hint}')
        return condition

    if given.where:
        return _merged(asker.read("--where", parse, text) for text in given.where)
    status = defaults.status_column(table)
    if status is None:
        if not needed:
            return ()
        question = Question(
            "Which rows are stale (COLUMN=VALUE)", "--where COLUMN=VALUE", parse, None, (_listed(table),)
        )
        return (asker.answer(question),)
    values = defaults.stale_values(status)
    default = None if unsure else ",".join(values) or (None if needed else NONE)

    def parse_values(text: str) -> tuple[Condition, ...]:
        if text == NONE and not needed:
            return ()
        return (parse(text if "=" in text else f"{status.name}={text}"),)

    title = f"Only rows with {status.name} in{'' if needed else f' ({ANY})'}"
    help_lines = (f"{status.name}: {values_text(status)}",)
    return asker.answer(Question(title, "--where COLUMN=VALUE", parse_values, default, help_lines))


def _merged(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Values of one column, given apart, are one list: a row has only one of them."""
    found: dict[tuple[str, bool | None], Condition] = {}
    for one in conditions:
        before = found.get((one.column, one.is_null))
        found[one.column, one.is_null] = replace(one, values=before.values + one.values) if before else one
    return tuple(found.values())


def _action(asker: Asker, table: TableFacts, given: Given, where: tuple[Condition, ...]) -> Action:
    def checked(action: Action) -> Action:
        for name, _ in action.write.set if action.write else ():
            if not _known(table, name).writable:
                raise ValueError(f'column "{name}" is generated by the database and cannot be set')
        return action

    if sum((bool(given.set), given.delete, bool(given.archive_to))) > 1:
        raise SpecError("BadAnswer", "--set, --delete and --archive-to exclude each other: give one of them.")
    if given.webhook and given.handler:
        raise SpecError("BadAnswer", "--webhook and --handler exclude each other: give one of them.")
    effect = Action(webhook=given.webhook or "", handler=given.handler or "")
    if given.set:
        return asker.read("--set", lambda _: checked(replace(effect, write=Write(parse_sets(given.set)))), "")
    if given.delete:
        return replace(effect, write=Write())
    if given.archive_to:
        return asker.read(
            "--archive-to", lambda name: replace(effect, write=Write(archive=parse_table(name))), given.archive_to
        )
    if given.handler and not asker.interactive:
        return effect
    # Without a terminal nobody sees what a default would do to the rows.
    default = defaults.action_text(table, where) if asker.interactive else None
    return _asked_action(asker, checked, effect, default)


def _asked_action(asker: Asker, checked: Callable[[Action], Action], effect: Action, default: str | None) -> Action:
    """``effect``: what the options name."""
    if not effect.has_effect:
        help_lines = ("COLUMN=VALUE, delete, archive TABLE, webhook URL or handler MODULE:FUNCTION",)
        title, option = "What happens to a stale row", "--set, --delete, --archive-to, --webhook or --handler"
        effect = asker.answer(Question(title, option, lambda text: checked(parse_action(text)), default, help_lines))
        if not effect.has_effect:
            return effect

    def then(text: str) -> Action:
        if text == NONE and effect.handler:
            return effect
        action = checked(parse_action(text))
        if action.has_effect:
            raise ValueError("write COLUMN=VALUE, delete or archive TABLE")
        return replace(effect, write=action.write)

    title = f"And then{f' ({NONE} if the handler changes the row itself)' if effect.handler else ''}"
    return asker.answer(Question(title, "--set, --delete or --archive-to", then, NONE if effect.handler else default))


def _children(asker: Asker, table: TableFacts, given: Given, action: Action) -> bool:
    """Whether rows of other tables may be deleted or changed too."""
    changed = changed_children(table)
    if action.write is None or action.write.set or not changed:
        return False

    def parse(text: str) -> bool:
        if text.lower() not in ("y", "yes"):
            raise ValueError(f"{'; '.join(changed)}. Accept that, or set a column instead")
        return True

    if given.accept_children:
        return True
    return asker.answer(Question("Accept that (y)", "--accept-children", parse, None, tuple(changed)))


def _period(asker: Asker, given: Given, age: str) -> Period:
    if given.every is not None and given.schedule is not None:
        raise SpecError("BadAnswer", "--every and --schedule exclude each other: give one of them.")
    option = "--schedule CRON" if given.schedule is not None else "--every PERIOD"
    help_lines = ('A period such as 5m, or a cron expression in UTC such as "0 4 * * *"',)
    title = "How often"
    return asker.answer(
        Question(title, option, parse_period, defaults.period_text(age), help_lines), given.schedule or given.every
    )
