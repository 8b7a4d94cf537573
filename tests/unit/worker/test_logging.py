"""Log lines of the worker, and text from outside in them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest

from kubesweep.logging import configure, keep_loggers, safe_url
from tests.unit.core.test_text import harmful


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    logger = logging.getLogger("kubesweep")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_every_line_is_one_json_object() -> None:
    out = io.StringIO()
    configure(stream=out)
    log = logging.getLogger("kubesweep.worker")
    log.info("hello %s", "you", extra={"rows": 3, "level": "mine", "key": ("1",)})
    log.debug("not shown")
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["message"], first["rows"], first["level"], first["key"]) == ("hello you", 3, "info", ["1"])
    assert first["time"].endswith("+00:00")
    assert "ValueError: bad" in second["exception"]


def test_on_a_terminal_a_line_is_short_and_long_fields_come_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    configure(stream=out)
    logging.getLogger("kubesweep.worker").warning("away", extra={"reason": "X", "stack": "a\nb\n"})
    lines = out.getvalue().splitlines()
    assert lines[0].endswith("warning away  reason=X")
    assert lines[1:] == ["  stack:", "    a", "    b"]


HOSTILE = "\x1b[2J\x9b31m\u202e\0\ud800"


def test_a_line_of_json_passes_no_terminal_what_others_wrote_and_says_it_all_the_same() -> None:
    out = io.StringIO()
    configure(stream=out)
    logging.getLogger("kubesweep.worker").warning("said %s", HOSTILE, extra={"row": HOSTILE})
    assert harmful(out.getvalue()) == []
    assert out.getvalue().encode(), "a half of a surrogate pair is taken by no stream"
    line = json.loads(out.getvalue())
    assert (line["message"], line["row"]) == (f"said {HOSTILE}", HOSTILE)


def test_a_short_line_passes_no_terminal_what_others_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    configure(stream=out)
    logging.getLogger("kubesweep.worker").warning("said %s", HOSTILE, extra={"row": HOSTILE})
    assert harmful(out.getvalue()) == []
    assert "said \ufffd[2J" in out.getvalue()


def test_in_a_pod_even_a_terminal_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    out = Terminal()
    configure("debug", stream=out)
    logging.getLogger("kubesweep.worker").debug("shown")
    assert json.loads(out.getvalue())["message"] == "shown"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://sweep:hunter2@db:5432/support?sslmode=require", "postgresql://sweep:***@db:5432/support"),
        ("postgresql://sweep@db/support", "postgresql://sweep@db/support"),
        ("postgresql://db/support?password=hunter2", "postgresql://db/support"),
        ("https://example.com/hook#hunter2", "https://example.com/hook"),
        ("sqlite:////var/lib/kubesweep/queue.db", "sqlite:////var/lib/kubesweep/queue.db"),
        ("sqlite:///queue.db", "sqlite:///queue.db"),
        ("http://[hunter2", "(not a URL)"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert safe_url(url) == shown


def test_on_a_terminal_no_escape_sequence_of_others_is_printed() -> None:
    out = Terminal()
    configure(stream=out, as_json=False)
    logging.getLogger("kubesweep.worker").info("said \x1b]0;mine\x07\x9b31m", extra={"reason": "\u202eevil\x1b[2J"})
    assert out.getvalue().endswith("info said \ufffd]0;mine\ufffd\ufffd31m  reason=\ufffdevil\ufffd[2J\n")


def test_the_loggers_of_kubesweep_outlive_a_configuration_that_disables_others() -> None:
    out = io.StringIO()
    configure(stream=out)
    mine, others = logging.getLogger("kubesweep.worker"), logging.getLogger("others")
    root = logging.getLogger()
    before = list(root.handlers)
    keep_loggers()
    try:
        logging.config.dictConfig({"version": 1, "root": {"handlers": [], "level": "WARNING"}})
    finally:
        root.handlers[:] = before
    assert (mine.disabled, others.disabled) == (False, True)
    mine.warning("still here")
    assert "still here" in out.getvalue()
