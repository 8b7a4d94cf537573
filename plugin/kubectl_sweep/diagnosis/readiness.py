"""Causes that a worker found: the database, its password, the handler, the receiver. Pure."""

from __future__ import annotations

from kubectl_sweep.diagnosis.causes import Cause, Diagnosis
from kubectl_sweep.diagnosis.facts import Facts
from kubesweep.text import as_sentence
from kubesweep_console.documents import mapping, text

__all__ = ["checking", "effect_not_ready", "source_not_ready"]

PASSWORD = frozenset({"AuthenticationFailed", "UrlMissing"})  # codes that a change of the Secret fixes
STALLED = frozenset({"SqlInvalid", "GeneratedColumn", "KeyTypeUnsupported", "NotATable"})  # only an edit fixes these


def source_not_ready(facts: Facts) -> Diagnosis | None:
    """Ready reports it, and SourceReady too where Ready reports something else."""
    code = facts.reason("SourceReady", "False")
    if not code:
        return None
    message, evidence = as_sentence(facts.message("SourceReady")), facts.evidence("SourceReady")
    if code in PASSWORD:
        secret = _secret(facts)
        where = f"The database's credentials for {facts.name}" + (f" (Secret {secret})" if secret else "")
        command = f"kubectl edit secret {secret} {facts.here}" if secret else facts.edit
        sentence = f"{where} do not work ({code}): {message}"
        return Diagnosis(Cause.WRONG_PASSWORD, sentence, command, "To correct it; running pods read it again", evidence)
    sentence = f"A worker cannot sweep the table of {facts.name} ({code}): {message}"
    if code in STALLED or facts.reason("Stalled", "True"):
        return Diagnosis(Cause.SOURCE_NOT_READY, sentence, facts.edit, evidence=evidence)
    return Diagnosis(Cause.SOURCE_NOT_READY, sentence, facts.command("check"), "After the fix, to check it", evidence)


def _secret(facts: Facts) -> str:
    source = mapping(facts.schedule.spec.get("source"))
    url = mapping(mapping(source.get("urlFrom")).get("secretKeyRef"))
    parts = mapping(mapping(source.get("connection")).get("secretRef"))
    return text(url.get("name")) or text(parts.get("name"))


def effect_not_ready(facts: Facts) -> Diagnosis | None:
    if facts.reason("Ready", "False") != "EffectNotReady":
        return None
    effect = mapping(facts.schedule.spec.get("effect"))
    what = "handler" if text(effect.get("handler")) else "receiver"
    sentence = f"The {what} of {facts.name} does not work: {as_sentence(facts.message('Ready'))}"
    command = facts.command("check", "--probe") if what == "receiver" else facts.command("check")
    return Diagnosis(Cause.EFFECT_NOT_READY, sentence, command, "After the fix, to check it", facts.evidence("Ready"))


def checking(facts: Facts) -> Diagnosis | None:
    if facts.reason("Ready", "False") != "Checking" and facts.schedule.condition("Ready"):
        return None
    sentence = f"No worker has checked this version of {facts.name} yet: its first pod has to start."
    command = f"kubectl get pods {facts.here} -l kubesweep.dev/schedule={facts.schedule.name}"
    return Diagnosis(Cause.CHECKING, sentence, command, "To see its pods", facts.evidence("Ready"))
