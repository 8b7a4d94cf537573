"""Where notices go, as ``--notify`` gives it, and in which shape. runner/notice_sender.py delivers them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from kubesweep.errors import SpecError
from kubesweep_cli.runner.notices import Notice

__all__ = ["NoticeReceiver", "parse_receiver"]

SLACK = "hooks.slack.com"
PREFIX = "slack:"


@dataclass(frozen=True, slots=True)
class NoticeReceiver:
    """``slack``: it takes Slack's shape, ``{"text": ...}``; otherwise all fields of a notice."""

    url: str
    slack: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def body(self, notice: Notice) -> bytes:
        """The JSON of one notice. Slack reads &, < and > as markup."""
        if not self.slack:
            return msgspec.json.encode(notice)
        text = notice.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return msgspec.json.encode({"text": text})


def parse_receiver(text: str) -> NoticeReceiver:
    """The value of ``--notify``. Raises SpecError, which does not show the value."""
    url = text.removeprefix(PREFIX)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(each.isspace() for each in url):
        raise SpecError(
            "BadNotify",
            "--notify takes a complete URL, such as https://example.com/hook.\n"
            "Write slack: in front of it for a receiver of Slack's shape; hooks.slack.com needs no prefix.",
        )
    return NoticeReceiver(url, slack=url != text or parts.hostname == SLACK)
