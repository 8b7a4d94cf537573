"""What must be true after the soak. Each check returns the sentences that describe what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kubesweep.queue.model import Sweep, SweepState
from tests.soak.databases import Rows
from tests.soak.faults import Faults
from tests.soak.observer import Seen
from tests.soak.world import App, World

# A process that is killed and starts again is small at first, Python returns memory late, and a sweep that meets a fault holds more rows. So
# the last third may exceed the middle one by this much. A leak that matters in a month exceeds it in eight hours.
GROWTH, ROOM = 1.25, 8 << 20
MEASURED = ("controller", "worker", "redis")


def problems(world: World, rows: dict[int, Rows], seen: Seen, faults: Faults, length: float) -> list[str]:
    """All that is wrong. ``rows``: of each lane, at the end. ``length``: seconds in which faults were injected."""
    found = [
        *row_problems(rows),
        *unfinished(rows, seen),
        *memory_growth(seen, length),
        *_restarts(world, seen, faults),
    ]
    for app in world.apps:
        found += app.problems()
        for lane in app.lanes:
            if app.keeps_queue:
                found += sweep_problems(lane.number, rows[lane.number], list(seen.sweeps[lane.number].values()))
    return found + _effects(world, rows) + [f"in a log: {each}" for each in seen.tracebacks]


def row_problems(rows: dict[int, Rows]) -> Iterator[str]:
    """Every row that can be written was, once."""
    for lane, each in sorted(rows.items()):
        wanted = each.inserted - each.defect
        if each.open or not each.writes == each.written == wanted:
            yield f"lane {lane}: {each.open} rows are open, and {wanted} were to be written once: {each}"


def unfinished(rows: dict[int, Rows], seen: Seen) -> Iterator[str]:
    """Nothing is in the queues but the dead letters, which are the defect rows."""
    for lane, each in sorted(rows.items()):
        stats = seen.stats[lane]
        if stats.queued or stats.running or stats.delayed:
            yield f"lane {lane}: the queue still has jobs: {stats}"
        if not stats.dead == stats.excluded == each.defect:
            yield f"lane {lane}: {each.defect} rows are defect, {stats.dead} are dead letters, {stats.excluded} excluded"


def sweep_problems(lane: int, rows: Rows, sweeps: Sequence[Sweep]) -> Iterator[str]:
    """The sweeps of a queue that lost nothing account for each row.

    A worker that is killed after its transaction and before its report leaves rows that the next one finds written: unconfirmed or skipped.
    """
    for each in sweeps:
        if each.state is not SweepState.COMPLETED or not each.balanced or each.retrying:
            yield f"lane {lane}: a sweep ended {each.state}, {each.reason} {each.message}: {each}"
    applied = sum(each.applied for each in sweeps)
    uncertain = sum(each.unconfirmed + each.skipped for each in sweeps)
    dead = sum(each.dead for each in sweeps)
    if not applied <= rows.written <= applied + uncertain:
        yield f"lane {lane}: {rows.written} rows were written, the sweeps say {applied} and {uncertain} uncertain ones"
    if dead != rows.defect:
        yield f"lane {lane}: {rows.defect} rows are defect, the sweeps say {dead} dead letters"


def _effects(world: World, rows: dict[int, Rows]) -> list[str]:
    """Each row of a lane with a webhook had its effect, under one key, whatever was repeated."""
    wanted = sum(rows[lane.number].inserted for app in world.apps for lane in app.lanes if lane.webhook)
    received = world.received()
    return [] if received["keys"] == wanted else [f"{wanted} rows needed an effect: {received}"]


def memory_growth(seen: Seen, length: float) -> Iterator[str]:
    for name, (middle, last) in levels(seen, length).items():
        if last > GROWTH * middle + ROOM:
            yield f"{name}: {last >> 20} MiB in the last third, {middle >> 20} MiB in the middle one"


def levels(seen: Seen, length: float) -> dict[str, tuple[int, int]]:
    """The largest process of each component in the middle third and in the last one, in bytes."""
    found = {}
    for name, samples in seen.memory.items():
        if name.partition("/")[2] in MEASURED:
            middle = [size for at, size in samples if length / 3 <= at < length * 2 / 3]
            last = [size for at, size in samples if length * 2 / 3 <= at]
            found[name] = (max(middle, default=0), max(last, default=0))
    return found


def _restarts(world: World, seen: Seen, faults: Faults) -> Iterator[str]:
    """Containers restarted as often as they were killed. A controller also ends when it cannot renew its Lease: once for each fault of the API server."""
    expected = Counter(faults.restarts)
    for app in world.apps:
        for component in ("worker", "redis", "postgres", "receiver"):
            name = f"{app.namespace.name}/{component}"
            if (count := seen.restarts_of(name)) != expected[name]:
                yield f"{name}: {count} restarts, {expected[name]} kills"
        count = seen.restarts_of(f"{app.namespace.name}/controller")
        if count > faults.api_faults * _controllers(app):
            yield f"{app.namespace.name}/controller: {count} restarts, {faults.api_faults} faults of the API server"


def _controllers(app: App) -> int:
    return 2 if app.keeps_queue else 1
