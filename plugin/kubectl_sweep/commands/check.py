"""``kubectl sweep check``: the checks of ``kubesweep check`` inside the cluster, with the Secrets, network and image of the schedule's own pods.

A file that is not applied has no pods. The API server validates it, as it would on ``kubectl apply``, and the rest cannot be checked yet.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubectl_sweep.cluster.errors import ApiRefused
from kubectl_sweep.cluster.kinds import SCHEDULES, Ref
from kubectl_sweep.context import Context
from kubectl_sweep.logs.lines import LogFormat, format_line
from kubectl_sweep.pods.program import Ended, run_job
from kubectl_sweep.views import documents
from kubesweep.api.loading.documents import schedule_documents
from kubesweep.check_document import CheckDocument, as_fields, exit_code, parse_document, with_ticks
from kubesweep.check_report import plain_report
from kubesweep.errors import KubesweepError, Outage, SpecError
from kubesweep_cli.shell.exit_codes import Exit
from kubesweep_cli.views.check_report import show, show_title
from kubesweep_console.documents import Schedule

__all__ = ["run_check", "run_check_file"]


def run_check(context: Context, name: str, *, sql: bool, try_write: bool, probe: bool, output: str) -> Exit:
    """The exit code is the check's own: 0 passed, 1 warnings or a failed write, 2 the spec does not fit, 3 unreachable."""
    documents.check_output(output, ("json", "yaml"))
    ref = context.ref(name)
    schedule = context.cluster.schedule(ref.namespace, ref.name)
    flags = {"--sql": sql, "--try-write": try_write, "--probe": probe}
    words = [word for word, wanted in flags.items() if wanted]
    context.terminal.say(f"Checking {ref} in a short Job of its own pod template, which takes some seconds.")
    ended = run_job(context.cluster, context.terminal, schedule, "check", [*words, "-o", "json"])
    document = _document(context, ended)
    if document is None:
        raise _no_document(ended)
    document = _with_ticks(document, schedule)
    if output:
        documents.show(context.terminal, as_fields(document), output)
    elif context.terminal.out.is_terminal and document.error is None:
        show_title(context.terminal, document.name, "", document.mode)
        show(context.terminal, document, sql=sql)
    else:
        context.terminal.line(plain_report(document, sql=sql))
    if schedule["metadata"].get("generation") != (schedule.get("status") or {}).get("observedGeneration"):
        context.terminal.warn(
            "The controller has not seen the latest edit yet: this is the check of the spec before it."
        )
    return Exit(exit_code(document))


def _document(context: Context, ended: Ended) -> CheckDocument | None:
    """The report among the records of the program's log, which go to stderr."""
    found = None
    for line in ended.output.splitlines():
        document = parse_document(line) if line.startswith("{") else None
        if document is None:
            context.terminal.err.print(format_line("", line, LogFormat.TEXT), soft_wrap=True)
        found = document or found
    return found


def _no_document(ended: Ended) -> KubesweepError:
    """The program has printed why."""
    if ended.code == Exit.UNREACHABLE:
        return Outage("CheckFailed", "The check ended without a report: see above.")
    if ended.code == Exit.USAGE:
        return SpecError(
            "CheckFailed",
            "The check ended without a report: see above. The image of the workers may have an older version of Kubesweep, without this command.",
        )
    return KubesweepError(f"kubesweep-worker check ended with exit code {ended.code} and without a report: see above.")


def _with_ticks(document: CheckDocument, schedule: Mapping[str, Any]) -> CheckDocument:
    """A pod knows its plan, which has no times."""
    found = Schedule(schedule)
    if found.ticks is None:
        return document
    return with_ticks(document, found.ticks, time.time(), suspended=found.spec.get("suspend") is True)


def run_check_file(context: Context, file: str) -> Exit:
    """Validate the schedules of a file. Nothing is applied, and no table is read."""
    for document in schedule_documents(Path(file)):
        body, origin = _placed(document.data, context), f"{file}:{document.line}"
        ref = Ref(body["metadata"]["namespace"], body["metadata"]["name"])
        try:
            context.cluster.validate(SCHEDULES, body)
        except ApiRefused as refused:
            raise SpecError("ApiRefused", f"{origin}: the API server refuses {ref}: {refused}") from None
        context.terminal.line(f"{origin}: {ref}: the API server accepts it.")
        _say_what_is_missing(context, ref)
    return Exit.CLEAN


def _say_what_is_missing(context: Context, ref: Ref) -> None:
    """A table is read in a pod, and a pod has the Secrets and the network of an applied schedule only."""
    try:
        context.cluster.schedule(ref.namespace, ref.name)
    except SpecError:
        context.terminal.say(
            "Its table, effect and Secrets are not checked: they are reached from the schedule's pods, and it is not applied yet.\n"
            "Apply it with spec.suspend: true, which sweeps nothing, and then run the commands below."
        )
        steps = [
            (context.command("check", ref), "check the table, the effect and the network from its own pods"),
            (context.command("resume", ref), "let it sweep"),
        ]
    else:
        context.terminal.say(
            "Its table and effect are not checked: the pods in the cluster have the spec that is applied, not this file's."
        )
        steps = [(context.command("check", ref), "check the spec that is applied")]
    context.terminal.next_steps(steps)


def _placed(body: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """With the namespace that ``kubectl apply`` would use."""
    meta = body.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return {**body, "metadata": {**meta, "namespace": meta.get("namespace") or context.cluster.namespace}}
