"""Record the live view of ``kubesweep demo`` as an SVG: ``make live-view`` -> docs/images/live-view.svg.

The picture shows a real run. The demo runs in a pseudo-terminal, its output is split where the live view is redrawn, and the
frame in the middle of the run is rendered. Only the terminal's output is used, so the script depends on no module of the CLI.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "live-view.svg"
COLUMNS, LINES = 92, 30
# rich erases a view line by line, upwards, before it draws the next one.
REDRAW = re.compile(r"\r(?:\x1b\[2K|\x1b\[1A)+")
CONTROL = re.compile(r"\x1b\[\?25[hl]|\x1b\[[0-9]*[ABCDJKH]")
# A picture in a repository loads nothing from elsewhere.
FORMAT = re.sub(r",\s*url\([^;]*(?=;)", "", CONSOLE_SVG_FORMAT)
# Background, text, and the eight colours of a terminal, plain and bright; grey on grey has to be readable.
THEME = TerminalTheme(
    (24, 26, 31),
    (214, 218, 224),
    [(60, 64, 72), (224, 90, 90), (126, 198, 108), (229, 192, 96), (97, 160, 239), (198, 120, 221), (86, 196, 206), (214, 218, 224)],
    [(140, 146, 156), (240, 110, 110), (150, 220, 130), (240, 210, 120), (120, 180, 250), (215, 140, 235), (110, 215, 225), (255, 255, 255)],
)  # fmt: skip
SHARE = re.compile(r"(\d+)(?:\.\d+)? ?%")


def record(command: list[str]) -> str:
    """All that ``command`` writes to a terminal of this size. Raises CalledProcessError where it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True)
    os.close(theirs)
    output = io.BytesIO()
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # on Linux a terminal whose last writer is gone answers EIO
            break
        if not chunk:
            break
        output.write(chunk)
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, output.getvalue())
    return output.getvalue().decode()


def frames(output: str) -> list[str]:
    """The pictures of the live view, in order; what is written before and after it is left out."""
    parts = REDRAW.split(output)
    return [CONTROL.sub("", part).replace("\r\n", "\n").strip("\n") for part in parts[1:-1]]


def middle(pictures: list[str]) -> str:
    """The frame in which most is going on: its progress bars are nearest to two thirds. Raises ValueError without any."""

    def distance(picture: str) -> float:
        shares = [int(each) for each in SHARE.findall(Text.from_ansi(picture).plain)]
        return sum(abs(66 - each) for each in shares) / len(shares) + (0 if len(shares) > 1 else 50)

    moving = [each for each in pictures if SHARE.search(Text.from_ansi(each).plain)]
    if not moving:
        raise ValueError("the run was over before the live view showed progress: use more rows")
    return min(moving, key=distance)


def render(picture: str, title: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(picture))
    return console.export_svg(title=title, theme=THEME, code_format=FORMAT, unique_id="live-view")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.record_live_view", description="Record the live view.")
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("kubesweep")),
            "demo",
            "--rows",
            str(options.rows),
            "--keep",
            folder,
        ]
        output = record(command)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(render(middle(frames(output)), "kubesweep demo"), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
