"""The list of guarantees for `make mutants` cannot rot, operators change what they should, and a run says what survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import runner
from tests.mutants.__main__ import main, table
from tests.mutants.mutant import Mutant, mutants
from tests.mutants.place import ROOT, AnchorGone, Equivalent, Guarantee, Place, _places, guarantees
from tests.mutants.runner import Result, SelectionFails, Verdict, copies

LIST = guarantees()
PLAIN = "core/kubesweep/quantities.py"


@pytest.mark.parametrize("guarantee", LIST.values(), ids=LIST.keys())
def test_every_place_is_in_the_code_and_has_mutants_that_compile(guarantee: Guarantee) -> None:
    for place in guarantee.places:
        found = mutants(place)
        assert found or place.equivalents, place.where
        assert all(each.text != each.original for each in found)
        assert all(each.why for each in place.equivalents)


@pytest.mark.parametrize("guarantee", LIST.values(), ids=LIST.keys())
def test_the_tests_of_every_place_exist(guarantee: Guarantee) -> None:
    for place in guarantee.places:
        files = [each.partition("::")[0] for each in place.tests if not each.startswith("-")]
        assert files
        assert [each for each in files if not (ROOT / each).is_file()] == []


def names(file: Path, text: str, name: str = "", **options: object) -> list[str]:
    file.write_text(text, "utf-8")
    place = Place(str(file), name, (), **options)  # type: ignore[arg-type]
    return [each.name.partition(" => ")[2] for each in mutants(place)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", ["return a <= b"]),
        ("return a >= b", ["return a > b"]),
        ("return min(a, b)", ["return max(a, b)"]),
        ("return a == b", ["return not a == b"]),
        ("return a + 1", ["return a - 1", "return a + 0"]),
        ("return a and b", ["return b", "return a"]),
        ("return [a, b]", ["return [b]", "return [a]"]),
        ("return a if b else 0", ["return a if False else 0", "return a if True else 0", "return a if b else 1"]),
        ("if a:\n        raise ValueError", ["if False:"]),
        ("a.append(b)\n    return a", ["pass"]),
        ("return [c for c in a if c in b]", ["return [c for c in a if True]"]),
        ("return '1 < 2'  # a < b", []),
        ("return f'{a < b}'", []),
    ],
)
def test_python_is_changed_outside_of_texts(body: str, expected: list[str], tmp_path: Path) -> None:
    text = f"def f(a, b):\n    {body}\n"
    assert sorted(names(tmp_path / "a.py", text, "f")) == sorted(expected)


def test_lua_is_changed_outside_of_texts(tmp_path: Path) -> None:
    text = "local function f(a)\n  if a < 1 then return 'a < 1' end -- a < 1\n  call('SET', a)\nend\nlocal b = 1 < 2\n"
    assert sorted(names(tmp_path / "a.lua", text, "f")) == [
        "",
        "if a < 0 then return 'a < 1' end -- a < 1",
        "if a < 2 then return 'a < 1' end -- a < 1",
        "if a <= 1 then return 'a < 1' end -- a < 1",
        "if false then return 'a < 1' end -- a < 1",
    ]


def test_each_condition_of_a_statement_is_dropped(tmp_path: Path) -> None:
    text = "-- name: a\nDELETE FROM job\nWHERE id = ? AND lease < 5;\n-- name: b\nDELETE FROM job\nWHERE no_such_column = 1;\n"
    file = tmp_path / "a.sql"
    assert sorted(names(file, text, "a")) == [
        "WHERE (id = ? OR true) AND lease < 5;",
        "WHERE id = ? AND (lease < 5 OR true);",
        "WHERE id = ? AND lease <= 5;",
    ]
    assert names(file, text, "b") == [], "what SQLite does not prepare is no mutant"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gone", {}),
        ("f", {"lines": ("gone",)}),
        ("f", {"lines": ("a",)}),  # in two lines
        ("f", {"edits": (("gone", ""),)}),
        ("f", {"equivalents": (Equivalent(("gone => gone",), "why"),)}),
    ],
)
def test_what_is_gone_from_the_code_is_an_error(name: str, options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(AnchorGone, match=r"gone|'a'"):
        names(tmp_path / "a.py", "def f(a):\n    return a < 1\n", name, **options)


def test_an_equivalent_mutant_of_an_unknown_function_is_refused() -> None:
    """It would silently not count."""
    place = {
        "file": "a.py",
        "names": ["A.f", "A.g"],
        "tests": ["t"],
        "equivalent": [{"name": "g", "why": "w", "mutants": []}],
    }
    with pytest.raises(AnchorGone, match="lists no 'g'"):
        list(_places(place, {}))


def test_an_equivalent_mutant_is_not_run_and_an_edit_is(tmp_path: Path) -> None:
    text = "def f(a):\n    return a < 'b'\n"
    equal = Equivalent(("return a < 'b' => return a <= 'b'",), "no test can see it")
    assert names(tmp_path / "a.py", text, "f", equivalents=(equal,)) == []
    assert names(tmp_path / "a.py", text, "f", lines=(), edits=(("'b'", "'c'"),)) == ["return a < 'c'"]


def edited(new: str, tests: str = "tests/unit/core/test_mutant.py") -> tuple[str, Mutant]:
    place = Place(PLAIN, "count", (tests,))
    text = place.read()
    return "example", Mutant(place, text, text.replace("def count(", f"{new}\n\n\ndef count(", 1))


async def test_a_run_says_which_mutants_no_test_kills_and_leaves_the_tree_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "LEAST_TIMEOUT", 1.0)
    monkeypatch.setattr(runner, "SLOWER", 0.0)
    before, reported = (ROOT / PLAIN).read_text(), list[Result]()
    test = "import kubesweep.quantities\n\n\ndef test_it():\n    {}\n"
    with copies() as trees:
        for tree in trees:
            folder = tree.root / "tests/unit/core"
            (folder / "test_mutant.py").write_text(test.format("assert not hasattr(kubesweep.quantities, 'A')"))
            (folder / "test_fails.py").write_text(test.format("raise AssertionError"))
        todo = [edited("A = 1"), edited("B = 1")]
        monkeypatch.setattr(runner, "LEAST_TIMEOUT", 600.0)
        results = await runner.run(trees, todo, reported.append)
        monkeypatch.setattr(runner, "LEAST_TIMEOUT", 1.0)
        results += await runner.run(trees, [edited("while True:\n    pass")], reported.append)
        with pytest.raises(ExceptionGroup) as failed:
            await runner.run(trees, [edited("B = 1", "tests/unit/core/test_fails.py")], reported.append)
        assert failed.group_contains(SelectionFails, match="fail without a mutant")
        assert all((tree.root / PLAIN).read_text() == before for tree in trees)
    assert (ROOT / PLAIN).read_text() == before
    assert sorted(results, key=lambda each: each.verdict) == sorted(reported, key=lambda each: each.verdict)
    assert {each.verdict: each.by for each in results} == {
        Verdict.KILLED: "test_mutant.py::test_it",
        Verdict.SURVIVED: "",
        Verdict.TIMEOUT: "",
    }
    shown = table([Guarantee("example", "Something holds", ())], results)
    assert shown.splitlines()[-1] == "| Something holds (`example`) | 3 | 1 | 1 | 1 | 0 |"


def test_the_command_lists_mutants_and_refuses_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "leases"]) == 0
    assert "leader_election.py: LeaderElection._try" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["no-such-guarantee"])
    assert "name some of" in capsys.readouterr().err
