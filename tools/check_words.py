"""Check every tracked text file against the project's list of words, tools/words.toml.

The list keeps one term for one thing: docs/glossary.md says which. A word counts in prose, in a message and as a part of an
identifier: ``HeldRows``, ``held_rows`` and ``heldRows`` all contain *held*, and ``give_back`` is *give back*. A term may be
allowed in a context (a regular expression that has to match around the word) and in named files.

Run it by ``make lint``, or ``python -m tools.check_words --counts`` for the number of hits in files that are not converted.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "tools" / "words.toml"
# A word of prose, or one part of an identifier: "HTTP", "Held" and "rows" of HTTPHeldRows_rows.
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What may be between the words of a phrase: nothing (camelCase), an underscore, or the end of a line and a comment's mark.
GAP = re.compile(r"[\s#*_>-]*")


@dataclass(frozen=True, slots=True)
class Term:
    """Phrases (of one word or more) to replace by ``use``, except where ``allow`` matches or in ``files``."""

    phrases: tuple[tuple[str, ...], ...]
    use: str
    allow: tuple[re.Pattern[str], ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WordList:
    terms: tuple[Term, ...]
    exempt: tuple[str, ...] = ()  # paths that are never checked
    unconverted: tuple[str, ...] = ()  # paths that are not checked yet

    @classmethod
    def read(cls, text: str) -> WordList:
        """The list from TOML. Raises ValueError for an entry that could never match."""
        data = tomllib.loads(text)
        terms = tuple(_term(each) for each in data.get("term", ()))
        if not terms:
            raise ValueError("the list of words has no term")
        return cls(terms, tuple(data.get("exempt", ())), tuple(data.get("unconverted", ())))


@dataclass(frozen=True, slots=True)
class Hit:
    path: str
    line: int
    word: str
    use: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.word}": use {self.use}'


def _term(entry: dict[str, Any]) -> Term:
    if unknown := entry.keys() - {"words", "use", "allow", "files"}:
        raise ValueError(f"unknown keys of a term: {', '.join(sorted(unknown))}")
    phrases = tuple(tuple(each.split()) for each in entry["words"])
    if not phrases or not entry["use"]:
        raise ValueError(f"a term needs words, and what to use instead: {entry}")
    for word in (each for phrase in phrases for each in phrase or ("",)):
        if not re.fullmatch("[a-z]+", word):
            raise ValueError(f"words are written in small letters, and as in prose: {word!r} can never match")
    return Term(
        phrases,
        str(entry["use"]),
        tuple(re.compile(each, re.IGNORECASE) for each in entry.get("allow", ())),
        tuple(entry.get("files", ())),
    )


def under(path: str, prefixes: Iterable[str]) -> bool:
    """Whether ``path`` is one of ``prefixes``, or lies below one that ends with a slash."""
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in prefixes)


def check_text(path: str, text: str, words: WordList) -> Iterator[Hit]:
    """The hits of one file, in the order of its text."""
    by_first: dict[str, list[tuple[tuple[str, ...], Term]]] = {}
    for term in words.terms:
        if not under(path, term.files):
            for phrase in term.phrases:
                by_first.setdefault(phrase[0], []).append((phrase, term))
    parts = list(PART.finditer(text))
    for place, part in enumerate(parts):
        for phrase, term in by_first.get(part.group().lower(), ()):
            last = _end(text, parts, place, phrase)
            if last is not None and not _allowed(term, text, part.start(), last):
                word = " ".join(text[part.start() : last].split())
                yield Hit(path, text.count("\n", 0, part.start()) + 1, word, term.use)


def _end(text: str, parts: list[re.Match[str]], place: int, phrase: tuple[str, ...]) -> int | None:
    """Where ``phrase`` ends that begins with the part at ``place``; None where other words follow."""
    for number, word in enumerate(phrase[1:], place + 1):
        if number == len(parts) or parts[number].group().lower() != word:
            return None
        if GAP.fullmatch(text, parts[number - 1].end(), parts[number].start()) is None:
            return None
    return parts[place + len(phrase) - 1].end()


def _allowed(term: Term, text: str, start: int, end: int) -> bool:
    """Whether a context covers the word. A context may reach over the end of a line."""
    first = max(0, start - 160)
    around = text[first : end + 160]
    return any(
        hit.start() <= start - first and end - first <= hit.end()
        for context in term.allow
        for hit in context.finditer(around)
    )


def tracked(root: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every text file that git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for path in sorted(set(filter(None, listed.split("\0")))):
        file = root / path
        if not file.is_file():
            continue
        content = file.read_bytes()
        if b"\0" not in content[:8192]:
            yield path, content.decode("utf-8", errors="replace")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where a converted file has a hit, or where an unconverted path names nothing."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_words", description="Check the project's words.")
    parser.add_argument("--counts", action="store_true", help="count the hits of each unconverted path")
    parser.add_argument("paths", nargs="*", help="show the hits of these files or folders, converted or not")
    options = parser.parse_args(arguments)
    words = WordList.read(WORDS.read_text(encoding="utf-8"))
    texts = {path: text for path, text in tracked(ROOT) if not under(path, words.exempt)}
    chosen = [f"{each.rstrip('/')}/" if (ROOT / each).is_dir() else each for each in options.paths]
    if options.counts:
        return _counts(texts, words)
    hits = [
        hit
        for path, text in texts.items()
        if (under(path, chosen) if chosen else not under(path, words.unconverted))
        for hit in check_text(path, text, words)
    ]
    for hit in hits:
        print(hit)
    gone = [] if chosen else [each for each in words.unconverted if not any(under(path, [each]) for path in texts)]
    for each in gone:
        print(f"tools/words.toml: unconverted: no such path: {each}")
    return 1 if hits or gone else 0


def _counts(texts: dict[str, str], words: WordList) -> int:
    counts: Counter[str] = Counter()
    for path, text in texts.items():
        place = next((each for each in words.unconverted if under(path, [each])), "converted")
        counts[place] += sum(1 for _ in check_text(path, text, words))
    for place in ("converted", *words.unconverted):
        print(f"{counts[place]:6}  {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
