"""From a file to its YAML documents, and from a document to a SweepSchedule, with every problem and its line."""

from __future__ import annotations

import sys
from pathlib import Path

from kubesweep.api.loading import unquoted, validation, yaml_document
from kubesweep.api.loading.yaml_document import Document
from kubesweep.api.models.spec import KIND, SweepSchedule
from kubesweep.api.problems import Problem, SpecErrors

__all__ = ["parse_schedule", "read_text", "schedule_documents"]

STDIN = "-"  # the path that stands for stdin


def schedule_documents(path: Path) -> list[Document]:
    """The documents of a file that are valid SweepSchedules; all others are ignored, as their kinds are somebody else's.

    For a program that has no use for Secrets. ``-`` is stdin. Raises ``SpecErrors`` with all problems.
    """
    text = read_text(path)
    documents = [text] if isinstance(text, Problem) else list(yaml_document.read(text, str(path)))
    found, wrong = [], list[Problem]()
    for each in documents:
        if isinstance(each, Problem):
            wrong.append(each)
        elif isinstance(each.data, dict) and each.data.get("kind") == KIND:
            wrong += each.problems or parse_schedule(each)[1]
            found.append(each)
    if not wrong and not found:
        wrong.append(Problem("NoSchedule", f"no {KIND} in it", str(path)))
    if wrong:
        raise SpecErrors(wrong)
    return found


def parse_schedule(document: Document) -> tuple[SweepSchedule | None, list[Problem]]:
    """The model, or None and what is wrong. Texts without quotes get their written form first."""
    unread = unquoted.restore_written_text(document)
    made, wrong = validation.parse(document, SweepSchedule)
    return made, [*unread, *wrong]


def read_text(path: Path) -> str | Problem:
    """Of a file, or of stdin for ``-``."""
    file = str(path)
    try:
        data = sys.stdin.buffer.read() if file == STDIN else path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Problem("NotUtf8", f"not UTF-8 text at byte {error.start}: save it as UTF-8", file)
    except OSError as error:
        return Problem("FileUnreadable", f"cannot be read: {error.strerror}", file)
