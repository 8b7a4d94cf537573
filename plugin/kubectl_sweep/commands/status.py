"""``kubectl sweep status``: one screen about a schedule, with what to type."""

from __future__ import annotations

from rich.text import Text

from kubectl_sweep.commands.facts import facts_of
from kubectl_sweep.context import Context
from kubectl_sweep.diagnosis.diagnose import diagnose
from kubectl_sweep.views import documents
from kubectl_sweep.views.status_screen import show_status
from kubesweep_cli.shell.exit_codes import Exit

__all__ = ["run_status"]


def run_status(context: Context, name: str, output: str) -> Exit:
    """Exit code 0 whatever the state: ``why`` has a code for scripts."""
    documents.check_output(output, ("json", "yaml"))
    ref = context.ref(name)
    found = context.cluster.schedule(*ref)
    if output:
        documents.show(context.terminal, documents.without_managed_fields(found), output)
        return Exit.CLEAN
    facts = facts_of(context, ref, found)
    show_status(context.terminal, facts.schedule, facts.now)
    diagnosis = diagnose(facts)
    context.terminal.out.print(Text(diagnosis.sentence, style="good" if diagnosis.is_calm else "bad"), soft_wrap=True)
    if context.terminal.verbosity >= 0:
        context.terminal.out.print(
            Text.assemble(f"{diagnosis.purpose}:  ", (diagnosis.command, "command")), soft_wrap=True
        )
    return Exit.CLEAN
