"""``kubectl sweep suspend`` and ``resume``: an edit of ``spec.suspend``, as GitOps and the audit log see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_sweep.cluster.gitops import owner_of_spec_field
from kubectl_sweep.cluster.kinds import Ref
from kubectl_sweep.context import Context
from kubesweep.errors import KubesweepError, SpecError
from kubesweep.quantities import count
from kubesweep_cli.shell.exit_codes import Exit, code_of_error

__all__ = ["run_resume", "run_suspend"]

Object = Mapping[str, Any]
Chosen = dict[Ref, Object | None]  # None: not read yet


def run_suspend(context: Context, names: Sequence[str], every: bool, yes: bool) -> Exit:
    """``every``: all schedules of the namespace, or with ``-A`` of all namespaces, which it asks for unless ``yes``."""
    return _run(context, names, every, yes, suspend=True)


def run_resume(context: Context, names: Sequence[str], every: bool, yes: bool) -> Exit:
    return _run(context, names, every, yes, suspend=False)


def _run(context: Context, names: Sequence[str], every: bool, yes: bool, *, suspend: bool) -> Exit:
    verb = "suspend" if suspend else "resume"
    chosen = _all(context, names, yes, suspend=suspend) if every else _named(context, names, verb)
    return Exit.FAILURE if chosen is None else _each(context, chosen, suspend=suspend)


def _named(context: Context, names: Sequence[str], verb: str) -> Chosen:
    if not names:
        raise SpecError("NameNeeded", f"{verb} takes a NAME, or --all.\nTo list them:  kubectl sweep get -A")
    return {context.ref(name): None for name in names}


def _all(context: Context, names: Sequence[str], yes: bool, *, suspend: bool) -> Chosen | None:
    """Those that would change. None where the person declines."""
    if names:
        raise SpecError("BadOption", "--all and a NAME exclude each other: leave one of them out.")
    cluster = context.cluster
    where = None if context.options.all_namespaces else cluster.namespace
    found: Chosen = {
        Ref(each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in cluster.schedules(where)
        if bool(each["spec"].get("suspend")) is not suspend
    }
    place = f"namespace {where}" if where else "all namespaces"
    if not found:
        context.terminal.line(f"No schedule of {place} is {'active' if suspend else 'suspended'}: nothing to do.")
        return {}
    verb = "Suspend" if suspend else "Resume"
    number = f"{count(len(found))} schedule{'' if len(found) == 1 else 's'}"
    return found if context.terminal.confirms(f"{verb} {number} of {place}?", yes=yes) else None


def _each(context: Context, chosen: Chosen, *, suspend: bool) -> Exit:
    """One that is refused does not keep the others from being changed. The highest exit code counts."""
    worst = Exit.CLEAN
    for ref, known in chosen.items():
        try:
            (_suspend if suspend else _resume)(context, ref, known)
        except KubesweepError as error:
            if len(chosen) == 1:
                raise
            context.terminal.error(f"{ref}: {error}")
            worst = max(worst, code_of_error(error))
    return worst


def _suspend(context: Context, ref: Ref, known: Object | None) -> None:
    if _set(context, ref, known, True):
        context.terminal.line(
            f"{ref} is suspended: no tick fires, and its workers stop. A running sweep continues after resuming."
        )
    else:
        context.terminal.line(f"{ref} was suspended already.")
    context.terminal.say(f"To resume it:  {context.command('resume', ref)}")


def _resume(context: Context, ref: Ref, known: Object | None) -> None:
    if _set(context, ref, known, False):
        context.terminal.line(f"{ref} is resumed: it fires at its next tick. Ticks that passed meanwhile do not run.")
    else:
        context.terminal.line(f"{ref} was not suspended.")


def _set(context: Context, ref: Ref, known: Object | None, suspend: bool) -> bool:
    """Whether the field was changed. Warns where a GitOps tool will change it back."""
    found = known or context.cluster.schedule(*ref)
    if bool(found["spec"].get("suspend")) is suspend:
        return False
    context.cluster.patch_spec(ref, {"suspend": suspend})
    if tool := owner_of_spec_field(found, "suspend"):
        context.terminal.warn(
            f"{tool} sets spec.suspend of {ref} and will change it back. Change it in Git too, or pause {tool} for this object."
        )
    return True
