"""``kubectl sweep why``: one sentence, and the command that fixes it."""

from __future__ import annotations

from rich.text import Text

from kubectl_sweep.commands.facts import facts_of
from kubectl_sweep.context import Context
from kubectl_sweep.diagnosis.causes import Diagnosis
from kubectl_sweep.diagnosis.diagnose import diagnose
from kubectl_sweep.views import documents
from kubesweep_cli.shell.exit_codes import Exit

__all__ = ["diagnosis_document", "run_why"]


def run_why(context: Context, name: str, output: str) -> Exit:
    """Exit code 1 where something is wrong."""
    documents.check_output(output, ("json", "yaml"))
    ref = context.ref(name)
    found = diagnose(facts_of(context, ref, context.cluster.schedule(*ref)))
    if output:
        documents.show(context.terminal, {"schedule": str(ref), **diagnosis_document(found)}, output)
    else:
        _show(context, found)
    return Exit.CLEAN if found.is_calm else Exit.FAILURE


def diagnosis_document(found: Diagnosis) -> dict[str, object]:
    return {
        "cause": str(found.cause),
        "well": found.is_calm,
        "sentence": found.sentence,
        "command": found.command,
        "purpose": found.purpose,
        "evidence": list(found.evidence),
        "page": found.page,
    }


def _show(context: Context, found: Diagnosis) -> None:
    terminal = context.terminal
    terminal.out.print(Text(found.sentence, style="good" if found.is_calm else "bad"), soft_wrap=True)
    terminal.out.print(Text.assemble(f"{found.purpose}:  ", (found.command, "command")), soft_wrap=True)
    if terminal.verbosity < 0:
        return
    for each in found.evidence:
        terminal.out.print(Text(f"  {each}", style="faint"), soft_wrap=True)
    terminal.out.print(Text(f"  More: {found.page}", style="faint"), soft_wrap=True)
