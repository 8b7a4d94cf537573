"""From the NAME on the command line to a schedule of the queue."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from kubesweep.errors import SpecError
from kubesweep.logging import safe_url
from kubesweep.queue.model import ScheduleRef
from kubesweep.text import nearest_name
from kubesweep_cli.shell.schedule_files import files_here, names_in
from kubesweep_cli.shell.state_paths import namespace_option, program, queue_option, queue_url

__all__ = ["find", "label", "labels", "typed_name"]


def find(known: Sequence[ScheduleRef], name: str, namespace: str | None, queue: str) -> ScheduleRef:
    """The schedule of that name. ``namespace`` is needed only if two schedules share the name.

    Raises SpecError, which names the nearest schedule and lists the others.
    """
    found = [ref for ref in known if ref.name == name and namespace in (None, ref.namespace)]
    if len(found) == 1:
        return found[0]
    if found:
        spaces = ", ".join(sorted({ref.namespace for ref in found}))
        raise SpecError(
            "AmbiguousName",
            f"{len(found)} schedules of this queue have the name {name}.\nName one: -n NAMESPACE, one of {spaces}.",
        )
    if not known:
        raise SpecError(
            "UnknownSchedule",
            f"The queue {safe_url(queue)} has no schedule yet, so there is no {name}.\n{_about_file(name)}"
            f"Run a sweep first:  {_run_command(name, queue)}\n"
            f"or name another queue:  --queue URL, or the variable KUBESWEEP_QUEUE.",
        )
    where = f" in namespace {namespace}" if namespace else ""
    near = nearest_name(name, [ref.name for ref in known], cutoff=0.5)
    hint = f"Did you mean {near}? " if near else ""
    shown = ", ".join(label(ref) for ref in known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    raise SpecError(
        "UnknownSchedule",
        f"No schedule {name}{where} in the queue {safe_url(queue)}.\n{_about_file(name)}{hint}It has: {shown}.",
    )


def _about_file(name: str) -> str:
    """A line for a file's name in the place of a schedule's."""
    file = Path(name)
    if not file.is_file():
        return ""
    inside = names_in(file)
    which = f"a schedule in it, such as {inside[0]}" if inside else "a schedule: its metadata.name"
    return f"{name} is a file: name {which}. Commands that read files take it with -f.\n"


def _run_command(name: str, queue: str) -> str:
    """An example with a file that is here: the named one, or one of the working folder."""
    found = [Path(name)] if Path(name).is_file() else files_here()
    file = shlex.quote(str(found[0])) if found else "sweep.yaml"
    return f"{program()} run {file}{queue_option(None if queue == queue_url(None) else queue)}"


def label(ref: ScheduleRef) -> str:
    """The name to show: with the namespace unless that is ``default``."""
    return ref.name if ref.namespace == "default" else f"{ref.namespace}/{ref.name}"


def typed_name(ref: ScheduleRef, *, full: bool = False) -> str:
    """The arguments that name the schedule: with ``-n`` unless its namespace is ``default``. ``full``: with ``-n`` always, because
    another namespace may have the same name.
    """
    return f"{ref.name}{namespace_option(ref.namespace if full or ref.namespace != 'default' else None)}"


def labels(refs: Sequence[ScheduleRef]) -> list[str]:
    """Unique labels for these schedules."""
    short = [label(ref) for ref in refs]
    twice = {text for text in short if short.count(text) > 1}
    return [
        f"{text} ({ref.install}/{ref.uid[:8]})" if text in twice else text
        for text, ref in zip(short, refs, strict=True)
    ]
