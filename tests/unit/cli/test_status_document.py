"""The document of ``status -o json``: the names of the cluster's status, times in RFC 3339."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from kubesweep.api.models.status import Backlog, HealthSignal, LastSweep, PastSweep, QueueCounts, Status, TickCounts
from kubesweep.api.models.types import Model
from kubesweep.queue.model import THROTTLE, Finding, PlanVersion, ScheduleRef, Signal, Stats, Sweep, SweepState
from kubesweep.queue.model import TickCounts as Ticks
from kubesweep.timestamps import time_text
from kubesweep_cli.views.status_document import status_document

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
NOON = 1_772_366_400.0  # 2026-03-01T12:00:00Z
VERSION = PlanVersion(1_772_366_399_000, "5d41402abc4b2a76")
REF = ScheduleRef.local("default", "close-carts")
LATEST = Sweep(
    id="9f2c", tick=NOON, plan=VERSION, state=SweepState.RUNNING, cutoff="2026-03-01 12:00:00.123+00", started=NOON,
    planned=1000, applied=900, skipped=50, retrying=8, dead=2, open_jobs=1, samples=(("eu", "17"),),
)  # fmt: skip
BEFORE = Sweep(
    id="41aa", tick=NOON - 300, plan=VERSION, state=SweepState.COMPLETED, started=NOON - 300, finished=NOON - 298.5,
    planned=30, applied=30,
)  # fmt: skip
PROBLEM = Finding("SourceReady", False, "LockNotAvailable", "table carts: it is locked", VERSION, at=NOON + 2)
STATS = Stats(
    known=True, ready=1, running=1, delayed=1, excluded=10, dead=2, oldest_ready=NOON + 1.25, first_lease=NOON + 30,
    last_tick=NOON, ticks=Ticks(enqueued=2), sweep=LATEST, history=(BEFORE,), findings=(PROBLEM,),
    origin="public.carts(region, id) #1a2b",
)  # fmt: skip


def fields(model: type[Model]) -> set[str]:
    return {str(field.alias) for field in model.model_fields.values()}


def the_one(stats: Stats) -> dict[str, Any]:
    (document,) = json.loads(json.dumps(status_document([REF], [stats], NOON + 10)))
    assert isinstance(document, dict)
    return document


def test_the_example_of_the_documentation_is_this_document() -> None:
    example = PAGE.read_text().partition("```json\n")[2].partition("```")[0]
    assert json.loads(example) == [the_one(STATS)]


def test_what_the_cluster_shows_too_has_the_same_names() -> None:
    document = the_one(STATS)
    own = {"namespace", "name", "uid", "known", "paused", "suspended", "firstLeaseTime", "origin", "findings"}
    assert document.keys() - own <= fields(Status)
    assert document["lastSweep"].keys() - {"openJobs", "plan", "planGeneration"} <= fields(LastSweep)
    assert document["history"][0].keys() - {"openJobs", "plan", "planGeneration"} <= fields(PastSweep)
    assert document["queue"].keys() - {"excluded"} == fields(QueueCounts)
    assert document["ticks"].keys() == fields(TickCounts)
    assert document["backlog"].keys() <= fields(Backlog)


def test_a_sweep_of_the_document_fits_the_schema_of_the_cluster() -> None:
    document = the_one(STATS)
    for model, sweep in ((LastSweep, document["lastSweep"]), (PastSweep, document["history"][0])):
        model.model_validate({name: value for name, value in sweep.items() if name in fields(model)})


def test_an_ended_sweep_that_planned_a_part_of_the_stale_rows_says_how_many_there_were() -> None:
    capped = msgspec.structs.replace(BEFORE, capped=True, stale=170)
    document = the_one(msgspec.structs.replace(STATS, history=(capped,)))
    assert document["history"][0]["stale"] == 170
    assert "stale" not in the_one(STATS)["history"][0]


def test_a_schedule_that_never_ticked_has_no_times_and_no_sweep() -> None:
    document = the_one(Stats(known=True))
    assert not document.keys() & {
        "lastScheduleTime",
        "lastSweep",
        "oldestReadyTime",
        "firstLeaseTime",
        "origin",
        "backlog",
    }
    assert (document["history"], document["findings"]) == ([], [])


def test_times_have_milliseconds_only_if_there_are_any() -> None:
    assert time_text(NOON) == "2026-03-01T12:00:00Z"
    assert time_text(NOON + 0.25) == "2026-03-01T12:00:00.250Z"


def test_signals_are_there_while_workers_measure_them() -> None:
    lag = Signal("replayLag", "2.0 s", "0.1 s", seconds=8.0)
    found = Finding(THROTTLE, True, "", "", VERSION, at=NOON + 9, signals=(lag,))
    document = the_one(Stats(known=True, running=1, findings=(found,)))
    (signal,) = document["signals"]
    assert signal == {
        "name": "replayLag", "limit": "2.0 s", "value": "0.1 s", "percent": 100, "since": time_text(NOON + 1),
    }  # fmt: skip
    HealthSignal.model_validate(signal)
    assert "signals" not in the_one(Stats(known=True, findings=(found,)))  # there is no job, so nobody measures
    assert "signals" not in the_one(STATS)
