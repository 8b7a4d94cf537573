"""``kubesweep check`` shows on a terminal what ``kubesweep-worker check`` prints in a pod."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kubesweep.check_document import CheckResult, TriedWrite
from kubesweep.check_report import plain_report
from kubesweep_cli.shell.terminal import THEME, Terminal, open_terminal
from kubesweep_cli.views.check_report import show, show_title
from tests.unit.core.test_check_document import FULL, LEAST, changed


@pytest.mark.parametrize("sql", [False, True])
@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize(
    "document",
    [FULL, LEAST, changed(FULL, result=CheckResult.FAILED, tried=TriedWrite(rows=10, refused=2))],
)
def test_both_have_the_same_words(document: object, is_terminal: bool, sql: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, theme=THEME, force_terminal=is_terminal, color_system=None, markup=False)
    terminal = Terminal(console, console)
    assert isinstance(document, type(FULL))
    show_title(terminal, document.name, document.origin, document.mode)
    show(terminal, document, sql=sql)
    assert stream.getvalue().split() == plain_report(document, sql=sql).split()


def test_a_pipe_gets_no_line_that_is_filled_with_blanks() -> None:
    made = open_terminal(environ={})
    made.out.file = io.StringIO()
    show(made, FULL, sql=False)
    longest = max(map(len, plain_report(FULL, sql=False).splitlines()))
    assert max(map(len, made.out.file.getvalue().splitlines())) < longest + 20
