"""Check every tracked text file against .editorconfig, as an editor with that file would have saved it.

Checked are charset (UTF-8), end_of_line (LF), insert_final_newline, trim_trailing_whitespace and indent_style. Line lengths are
the formatters' business. Run it by ``make lint``.
"""

from __future__ import annotations

import configparser
import fnmatch
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.check_words import ROOT, tracked

# Files that other programs write, or whose bytes are the point.
EXEMPT = re.compile(r"(^LICENSE$|^requirements/|/go\.(mod|sum)$|package-lock\.json$|\.svg$|\.go$)")


def read(text: str) -> list[tuple[str, Mapping[str, str]]]:
    """The sections in order; the last one that matches a file decides."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.read_string(f"[preamble]\n{text}")
    return [(name, dict(parser[name])) for name in parser.sections() if name != "preamble"]


def matches(pattern: str, path: str) -> bool:
    """EditorConfig's patterns as far as ours use them: ``*``, ``{a,b}``, and a slash that ties to the root."""
    if found := re.search(r"\{([^{}]*)\}", pattern):
        options = found.group(1).split(",")
        return any(matches(pattern[: found.start()] + each + pattern[found.end() :], path) for each in options)
    return fnmatch.fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)


def rules_for(path: str, sections: list[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    rules: dict[str, str] = {}
    for pattern, settings in sections:
        if matches(pattern, path):
            rules.update(settings)
    return rules


def check_text(path: str, text: str, rules: Mapping[str, str]) -> Iterator[str]:
    """A sentence with file and line for each line that an editor would have saved in another way."""
    if not text:
        return
    if rules.get("charset") == "utf-8" and "\ufffd" in text:
        yield f"{path}: not UTF-8"
    if rules.get("insert_final_newline") == "true" and not text.endswith("\n"):
        yield f"{path}: no newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        if rules.get("end_of_line") == "lf" and line.endswith("\r"):
            yield f"{path}:{number}: a carriage return at the end of the line"
        elif rules.get("trim_trailing_whitespace") == "true" and line != line.rstrip(" \t"):
            yield f"{path}:{number}: white space at the end of the line"
        if rules.get("indent_style") == "space" and re.match(r" *\t", line):
            yield f"{path}:{number}: indented by a tab"


def main() -> int:
    sections = read((ROOT / ".editorconfig").read_text(encoding="utf-8"))
    problems = [
        problem
        for path, text in tracked(Path(ROOT))
        if not EXEMPT.search(path)
        for problem in check_text(path, text, rules_for(path, sections))
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
