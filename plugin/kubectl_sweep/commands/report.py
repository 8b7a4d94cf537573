"""``kubectl sweep report``: a zip for a bug report. It is written to this machine and sent nowhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.cluster.transport import Object
from kubectl_sweep.commands.facts import facts_of
from kubectl_sweep.commands.why import diagnosis_document
from kubectl_sweep.context import Context
from kubectl_sweep.diagnosis.diagnose import diagnose
from kubectl_sweep.report.collect import collect, names_in
from kubectl_sweep.report.contents import archive
from kubectl_sweep.report.redaction import Redactor
from kubectl_sweep.views.documents import as_text
from kubesweep.errors import SpecError
from kubesweep_cli.shell.exit_codes import Exit, NotFound

__all__ = ["run_report"]


def run_report(context: Context, name: str | None, output: str | None, *, with_keys: bool) -> Exit:
    """Exit code 0 even if some parts could not be read: the archive says which."""
    schedules = _schedules(context, name)
    now = time.gmtime()
    what = name.rpartition("/")[2] if name else "all"
    path = Path(output or f"kubesweep-report-{what}-{time.strftime('%Y%m%dT%H%M%SZ', now)}.zip")
    if path.exists():
        raise SpecError("FileExists", f"{path} exists. Name another file:  -o FILE.zip")
    contents = collect(context.cluster, schedules, context.terminal.say, lambda each: _why(context, each))
    redactor = Redactor(with_keys=with_keys, names=names_in(contents))
    title = f"Report of {len(schedules)} schedules of Kubesweep, {time.strftime('%Y-%m-%d %H:%M:%S UTC', now)}"
    data, manifest = archive(contents, redactor, title)
    _write(path, data)
    context.terminal.line(manifest.rstrip("\n"))
    context.terminal.line("")
    context.terminal.line(
        f"Written to {path} ({len(data):,} bytes), which only you can read. Nothing was sent: look into it before you attach it to an issue."
    )
    return Exit.CLEAN


def _schedules(context: Context, name: str | None) -> list[Object]:
    if name:
        ref = context.ref(name)
        return [context.cluster.schedule(ref.namespace, ref.name)]
    if not context.options.all_namespaces and not context.options.namespace:
        raise SpecError(
            "NameNeeded",
            "report needs the NAME of a schedule, -n NAMESPACE for all of a namespace, or -A for all of the cluster.",
        )
    found = context.cluster.schedules(None if context.options.all_namespaces else context.cluster.namespace)
    if not found:
        raise NotFound("There is no schedule to report on. Name another namespace:  -n NAMESPACE, or -A for all")
    return found


def _why(context: Context, schedule: Object) -> str:
    """What ``kubectl sweep why`` prints."""
    ref = Ref(schedule["metadata"]["namespace"], schedule["metadata"]["name"])
    found = diagnose(facts_of(context, ref, schedule))
    return as_text(diagnosis_document(found), "yaml") + "\n"


def _write(path: Path, data: bytes) -> None:
    """For this user alone. Never over a file that exists."""
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
    except OSError as error:
        raise SpecError(
            "FileUnwritable", f"{path} cannot be written: {error.strerror}. Name another file:  -o FILE.zip"
        ) from None
