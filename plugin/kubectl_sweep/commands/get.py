"""``kubectl sweep get``: schedules as a table, as documents, or as a line for each change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kubectl_sweep.cluster.errors import UnknownSchedule
from kubectl_sweep.context import Context
from kubectl_sweep.views import documents
from kubectl_sweep.views.columns import Layout, layout_of, show_rows, width_of
from kubectl_sweep.views.schedule_row import columns, row_of
from kubesweep.errors import SpecError
from kubesweep.streams import is_output_closed
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_console.documents import Schedule

__all__ = ["run_get"]

OUTPUTS = ("wide", "json", "yaml", "name")
Object = dict[str, Any]


def run_get(context: Context, names: Sequence[str], selector: str, output: str, watch: bool) -> Exit:
    """Print the schedules. A name that does not exist is an error, after the others were printed."""
    documents.check_output(output, OUTPUTS)
    if names and selector:
        raise SpecError("BadOption", "-l and a NAME exclude each other: leave one of them out.")
    if watch:
        return _watch(context, names, selector, output)
    found, missing = _read(context, names, selector)
    if output in ("json", "yaml"):
        alone = len(names) == 1 and found
        document = documents.without_managed_fields(found[0]) if alone else documents.as_list(found)
        if found or not names:
            documents.show(context.terminal, document, output)
    elif found:
        _Printer(context, output).show(found)
    elif not names:
        _nothing(context, selector)
    for each in missing[:-1]:
        context.terminal.error(str(each))
    if missing:
        raise missing[-1]
    return Exit.CLEAN


def _read(context: Context, names: Sequence[str], selector: str) -> tuple[list[Object], list[UnknownSchedule]]:
    cluster = context.cluster
    if not names:
        return cluster.schedules(None if context.options.all_namespaces else cluster.namespace, selector), []
    found, missing = [], []
    for ref in map(context.ref, names):
        try:
            found.append(cluster.schedule(*ref))
        except UnknownSchedule as error:
            missing.append(error)
    return found, missing


def _nothing(context: Context, selector: str) -> None:
    """Found nothing is no error, as in kubectl."""
    everywhere = context.options.all_namespaces
    where = "in this cluster" if everywhere else f"in namespace {context.cluster.namespace}"
    which = f" with the labels {selector}" if selector else ""
    hint = "" if everywhere else " To look in all namespaces:  kubectl sweep get -A"
    context.terminal.say(f"There is no schedule{which} {where}.{hint}")


class _Printer:
    """Prints lines. The first call decides the widths, so that the lines of a watch stay below each other."""

    def __init__(self, context: Context, output: str) -> None:
        self._terminal = context.terminal
        self._output = output
        self._namespaces = context.options.all_namespaces
        self._layout: Layout | None = None

    def show(self, found: Sequence[Object]) -> None:
        if self._output == "name":
            self._terminal.line("\n".join(map(documents.full_name, found)))
            return
        if self._output in ("json", "yaml"):
            for each in found:
                separator = "---\n" if self._output == "yaml" else ""
                text = documents.as_text(documents.without_managed_fields(each), self._output)
                self._terminal.line(separator + text)
            return
        wide, now = self._output == "wide", time.time()
        rows = [row_of(Schedule(each), now, namespaces=self._namespaces, wide=wide) for each in found]
        header = self._layout is None
        if self._layout is None:
            heads = columns(namespaces=self._namespaces, wide=wide)
            self._layout = layout_of(heads, rows, width_of(self._terminal))
        show_rows(self._terminal, self._layout, rows, header=header)


def _watch(context: Context, names: Sequence[str], selector: str, output: str) -> Exit:
    """A line for each schedule, and one for each change, until Ctrl-C, or until nobody reads them."""
    cluster, printer = context.cluster, _Printer(context, output)
    refs = [context.ref(each) for each in names]
    namespace = None if context.options.all_namespaces else cluster.namespace
    only = refs[0].name if len(refs) == 1 else ""
    wanted = {ref.name for ref in refs}
    listed, _ = cluster.listed_schedules(namespace, selector, only)
    first = [each for each in listed if not wanted or each["metadata"]["name"] in wanted]
    if only and not first:
        cluster.schedule(*refs[0])  # raises the error that names the nearest one
    if first:
        printer.show(first)
    seen = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in first}
    for change in cluster.watch_all(namespace, selector=selector, name=only):
        meta = change.object["metadata"]
        if (wanted and meta["name"] not in wanted) or seen.get(meta["uid"]) == meta["resourceVersion"]:
            continue
        seen[meta["uid"]] = meta["resourceVersion"]
        if change.kind == "DELETED":
            context.terminal.say(f"{meta['namespace']}/{meta['name']} was deleted")
        else:
            printer.show([change.object])
        if is_output_closed():
            break
    return Exit.CLEAN
