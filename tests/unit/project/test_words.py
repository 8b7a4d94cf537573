"""The check of words: it finds a word wherever it stands, and says where and what to write instead."""

from __future__ import annotations

import re

import pytest

from tools.check_words import ROOT, WORDS, Hit, WordList, check_text, tracked, under

LIST = """
exempt = ["LICENSE"]
unconverted = ["old/"]

[[term]]
words = ["held"]
use = "excluded"
allow = ["locks? (?:is|are) held"]
files = ["renamed.md"]

[[term]]
words = ["give back", "as ever"]
use = "release"
"""


def hits(text: str, path: str = "a.py") -> list[str]:
    return [hit.word for hit in check_text(path, text, WordList.read(LIST))]


@pytest.mark.parametrize(
    "text",
    [
        "rows are held",
        "Held rows",
        "held_rows = 1",
        "class HeldRows:",
        "heldRows",
        "HELD",
        "RowsHeld2",
        '"state": "Held"',
    ],
)
def test_a_word_counts_in_prose_and_as_a_part_of_an_identifier(text: str) -> None:
    assert [word.lower() for word in hits(text)] == ["held"]


@pytest.mark.parametrize("text", ["upheld", "withheld", "UPHELD", "heldenplatz", "holding"])
def test_a_part_of_another_word_does_not_count(text: str) -> None:
    assert hits(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "they give back jobs",
        "give_back(job)",
        "giveBack",
        "def _give_back_all",
        "give\nback",
        "# they give\n# back",
        "it runs as ever.",
    ],
)
def test_a_phrase_counts_across_lines_and_in_identifiers(text: str) -> None:
    assert len(hits(text)) == 1


@pytest.mark.parametrize("text", ["give it back", "give. Back", "background", "ever as"])
def test_words_of_a_phrase_that_stand_apart_do_not_count(text: str) -> None:
    assert hits(text) == []


def test_a_context_allows_only_the_word_that_it_covers() -> None:
    assert hits("a lock is held while a row is held") == ["held"]
    assert hits("locks are\nheld") == ["held"]  # a list that wants to allow this writes \\s
    assert hits("a lock is held") == []


def test_a_file_may_be_allowed_to_use_a_word() -> None:
    assert hits("held, and as ever", "renamed.md") == ["as ever"]


def test_a_hit_names_file_line_word_and_replacement() -> None:
    assert list(check_text("a.py", "one\ntwo Held\n", WordList.read(LIST))) == [Hit("a.py", 2, "Held", "excluded")]
    assert str(Hit("a.py", 2, "Held", "excluded")) == 'a.py:2: "Held": use excluded'


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ('words = ["Held"]\nuse = "x"', "can never match"),
        ('words = ["give_back"]\nuse = "x"', "can never match"),
        ('words = [""]\nuse = "x"', "can never match"),
        ('words = []\nuse = "x"', "needs words"),
        ('words = ["held"]\nuse = ""', "needs words"),
        ('words = ["held"]\nuse = "x"\nallows = []', "unknown keys"),
    ],
)
def test_an_entry_that_would_check_nothing_is_refused(entry: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        WordList.read(f"[[term]]\n{entry}\n")
    with pytest.raises(ValueError, match="no term"):
        WordList.read("exempt = []")


def project() -> WordList:
    return WordList.read(WORDS.read_text(encoding="utf-8"))


def test_every_word_of_the_projects_list_is_found() -> None:
    words = project()
    missed = []
    for term in words.terms:
        for phrase in term.phrases:
            text = f"Xy {' '.join(phrase)} zz."
            if not any(hit.use == term.use for hit in check_text("some.py", text, words)):
                missed.append(phrase)
    assert missed == []
    assert len(words.terms) > 20


def test_the_lists_contexts_and_paths_are_used() -> None:
    texts = dict(tracked(ROOT))
    words = project()
    assert [path for path in words.exempt if not any(under(each, [path]) for each in texts)] == []
    named = [path for term in words.terms for path in term.files]
    assert [path for path in named if not any(under(each, [path]) for each in texts)] == []


@pytest.mark.parametrize(
    "text",
    [
        "while the lock is held",
        "a lock that another transaction held",
        "the support desk",
        "Argo CD tells its syncs apart; they are told apart by hash",
        "ORDER BY id",
        "a queue that hands out jobs",
        "a long-standing bug",
        "feature gates",
    ],
)
def test_ordinary_uses_are_allowed(text: str) -> None:
    assert [str(hit) for hit in check_text("some.py", text, project())] == []


def test_the_glossary_uses_none_of_the_words() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert list(check_text("docs/glossary.md", text, project())) == []
    assert len(re.findall(r"^\| [\w ,-]+ \| .+ \|$", text, re.MULTILINE)) > 50


def test_the_glossary_defines_each_term_once_and_is_linked() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [term.strip() for term in re.findall(r"^\| ([\w ,-]+) \| ", text, re.MULTILINE) if term.strip() != "term"]
    assert len(terms) == len(set(terms))
    for page, link in (
        ("README.md", "docs/glossary.md"),
        ("docs/README.md", "glossary.md"),
        ("CONTRIBUTING.md", "docs/glossary.md"),
    ):
        assert f"({link})" in (ROOT / page).read_text(encoding="utf-8")
