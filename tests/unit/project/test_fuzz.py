"""Fuzzing: inputs that found a defect stay fixed, each target works, and a defect is reported with what repeats it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import find
from hypothesis import strategies as st

from kubesweep.errors import Damaged
from tests.fuzz.__main__ import main
from tests.fuzz.catalog import TARGETS
from tests.fuzz.runner import TooSlow, fuzz, run_case
from tests.fuzz.target import Case, Target, decode_case, encode_case
from tests.fuzz.targets.records import READERS, REPLIES, decode

FOUND = sorted((Path(__file__).parents[2] / "fuzz" / "found").glob("*/*.json"))


def test_inputs_are_kept() -> None:
    assert len(FOUND) > 10
    assert {each.parent.name for each in FOUND} <= TARGETS.keys()


@pytest.mark.parametrize("file", FOUND, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_what_once_failed_passes(file: Path) -> None:
    run_case(TARGETS[file.parent.name], decode_case(file.read_text()))


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_runs(name: str, tmp_path: Path) -> None:
    result = fuzz(TARGETS[name], 1, seconds=None, cases=20, save=tmp_path)
    assert result.failure is None, result.failure.error
    assert result.cases == 20


@pytest.mark.parametrize("what", READERS)
def test_the_replies_that_are_damaged_have_the_form_of_valid_ones(what: str) -> None:
    assert find(REPLIES[what].filter(bool), lambda reply: decode(what, reply) is not Damaged)


def test_a_case_survives_its_file() -> None:
    case = {"text": "\ud800\n", "bytes": b"\xff\0", "list": [1, 1.5, None, True], "map": {"": {}}}
    assert decode_case(encode_case(case)) == case


def breaks_at(number: int) -> Target:
    def check(case: Case) -> None:
        assert case < number, "too large"

    return Target("broken", st.integers(0, 10**6), check, chunk=50)


def test_a_defect_is_reduced_saved_and_found_again_by_its_seed(tmp_path: Path) -> None:
    first, again = (fuzz(breaks_at(1000), 7, seconds=None, cases=500, save=tmp_path / name) for name in "ab")
    assert first.failure is not None
    assert again.failure is not None
    assert decode_case(first.failure.case) == 1000
    assert "too large" in first.failure.error
    assert (first.cases, first.failure.repeat) == (again.cases, again.failure.repeat)
    assert first.failure.repeat.endswith('--cases 50 broken"')
    with pytest.raises(AssertionError, match="too large"):
        run_case(breaks_at(1000), decode_case(Path(first.failure.file).read_text()))


def test_a_case_that_never_ends_is_a_defect() -> None:
    def check(_: Case) -> None:
        for _ in itertools.count():
            pass

    with pytest.raises(TooSlow, match="more than 1 s of processor time"):
        run_case(Target("endless", st.none(), check, seconds=1), None)


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["urll"])
    assert "no target urll: name some of objects" in capsys.readouterr().err
