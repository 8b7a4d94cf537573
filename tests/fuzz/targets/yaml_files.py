"""Reading of files: any bytes are read or refused with problems that name their lines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from kubesweep.api.loading.files import load
from kubesweep.api.problems import SpecErrors
from tests.fuzz.bases import FIELDS, SECRET, files, schedules
from tests.fuzz.damage import PASSWORD, TEXTS, damaged_bytes, damaged_text, damaged_tree
from tests.fuzz.oracles import check_problems
from tests.fuzz.target import Target
from tests.fuzz.targets.objects import check_plan

__all__ = ["TARGETS"]

TOKENS = [
    *TEXTS, "&a ", "*a", "&a [*a]", "<<: *a\n", "<<: {}\n", "---\n", "...\n", "--- |\n", "%YAML 1.1\n", "%YAML 1.99999\n---\n", "%YAML 1." + "9" * 5000 + "\n---\n",
    "%TAG ! tag:x,2000:\n", "!!python/object/apply:os.getcwd []", "!!binary aGk=", "!!timestamp 2026-01-01", "!!set {a}", "!!omap [a: 1]",
    "!!int x", "!!int " + "9" * 5000, "!!float x", "!!bool 2", "!!null x", "!!str 5", "!<%ff>", "!<tag:yaml.org,2002:str> a", "!", "? a\n: b\n", "? [a]\n: b\n",
    "0x" + "F" * 5000, "9" * 5000, "0b" + "1" * 20000, "1e999", ".inf", ".nan", "0o17", "08", "190:20:30", "2026-02-30", "2026-01-01T00:00:00Z", "y", "N", "~",
    '"\\U00110000"', '"\\ud800"', '"\\x00"', '"\\e[31m"', '"\\xzz"', '"\\\n', "'", '"', "|2-\n", ">9\n", "|\n", "\t", "\r", "\x85", "\u2028", "\ufeff", "\x00",
    "# " + "x" * 200 + "\n", "[" * 70, "[" * 3000, "{a: " * 70, "- " * 70, "- " * 3000, ": ", ",", "}", "]", "@", "`", "%",
]  # fmt: skip
BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(9))
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp037")


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    text = draw(damaged_text([*files(), *files(), BOMB, ""], TOKENS))
    data = text.encode(draw(st.sampled_from(ENCODINGS)), "replace")
    return draw(damaged_bytes([data])) if draw(st.integers(0, 5)) == 0 else data


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of which values were damaged: the password stays the value of a Secret."""
    return {
        "schedule": draw(damaged_tree(schedules(), FIELDS)),
        "secret": draw(damaged_tree([SECRET], ("data", "url", "name"), most=1)),
        "flow": draw(st.booleans()),
    }


def read(data: bytes, secret: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_bytes(data)
        try:
            loaded = load([file])
        except SpecErrors as error:
            check_problems(error, without_path=frozenset(each.code for each in error.problems), secret=secret)
            for each in error.problems:
                assert (
                    each.path or each.line or each.code in ("NotUtf8", "NoSchedule", "FileTooLarge", "TooMuchYaml")
                ), str(each)
                assert (
                    each.line
                    <= data.count(b"\n") + data.count(b"\r") + data.count(b"\x85") + 2 * data.count(b"\xe2\x80") + 1
                )
            return
    assert loaded
    for one in loaded:
        check_plan(one.plan)
        assert not secret or secret not in repr(one)
        assert not secret or secret not in one.plan.to_json()


def check_text(data: bytes) -> None:
    read(data, "")  # damage may turn the line of a password into a key, which messages name


def check_documents(case: dict[str, Any]) -> None:
    try:
        text = yaml.safe_dump_all([case["schedule"], case["secret"]], sort_keys=False, default_flow_style=case["flow"])
        data = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no file has
        return
    read(data, PASSWORD)


TARGETS = (Target("yaml", texts(), check_text), Target("documents", documents(), check_documents))
