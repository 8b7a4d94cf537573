"""The pictures of docs/console.md can be taken again, and are small."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.kits.browser import needs_chromium
from tools.record_console import FOLDER, PICTURES, Picture, record

PAGE = Path(__file__).parents[2] / "docs" / "console.md"
LARGEST = 150 * 1024  # bytes


def size(file: Path) -> tuple[int, int]:
    """Width and height, from the header of a PNG."""
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize("one", PICTURES, ids=lambda one: one.name)
def test_each_picture_is_on_the_page_and_small(one: Picture) -> None:
    name = f"console-{one.name}.png"
    assert f"](images/{name})" in PAGE.read_text(encoding="utf-8")
    assert (FOLDER / name).stat().st_size < LARGEST


@needs_chromium
def test_the_pictures_are_taken_again_in_the_same_sizes(tmp_path: Path) -> None:
    for file in record(tmp_path):
        assert size(file) == size(FOLDER / file.name)
        assert 10_000 < file.stat().st_size < LARGEST
