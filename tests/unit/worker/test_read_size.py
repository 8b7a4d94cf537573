"""The values of a sub-batch fit into a few megabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubesweep_worker.flow_control.read_size import READ_BYTES, ReadSize
from tests.kits.worker import MemorySource, ScriptedEffect, Workbench, a_plan, with_effect


@pytest.mark.parametrize("kind", [str, bytes, msgspec.Raw], ids=["text", "bytes", "json"])
async def test_a_sub_batch_of_wide_rows_has_fewer_of_them(tmp_path: Path, kind: Any) -> None:
    source, text = MemorySource(150), "1" * (READ_BYTES // 11)  # and a key
    source.note = text if kind is str else kind(text.encode())
    bench = Workbench(tmp_path, source, with_effect(a_plan()), ScriptedEffect())
    stats = await bench.sweep()
    await bench.queue.close()
    assert stats.sweep is not None
    assert stats.sweep.applied == 150
    assert source.reads[0] == 50
    assert max(source.reads[2:]) == 10


def test_the_size_grows_by_a_fifth_where_rows_are_narrow_again() -> None:
    size = ReadSize(50)
    size.record([{"note": "x" * READ_BYTES, "id": 1}] * 2)
    assert size.most == 1
    found = []
    while size.most < 50:
        size.record([{"note": None, "id": 1}])
        found.append(size.most)
    assert found[:6] == [2, 3, 4, 5, 6, 8]


def test_an_empty_read_says_nothing() -> None:
    size = ReadSize(50)
    size.record([])
    assert size.most == 50
