"""The example with 200,000 conversations: workers scale up from zero and back to zero."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kits.conversations_app import EXPIRED, IDLE, ConversationsApp, conversations_app
from tests.kits.deadlines import scaled
from tests.kits.kube_client import Cluster, Object
from tests.kits.polling import eventually
from tests.kits.schedules import condition

ROWS = 200_000
SWEPT = {EXPIRED: ROWS * 2 // 10, IDLE: ROWS * 3 // 10}
TABLE = {
    "expired": SWEPT[EXPIRED],
    "idle": SWEPT[IDLE],
    "pending": ROWS // 10,
    "progress": ROWS // 5,
    "closed": ROWS // 5,
}
FIRST_ROW = scaled(30)  # seconds from the tick, with no worker running; 3 on an idle machine
REJECT_ONE_ROW = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.id = 10 THEN RAISE EXCEPTION 'conversation 10 is being audited'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION refuse();
"""


class Times:
    """Collects how long each step took."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        self._began = time.time()

    def note(self, step: str, seconds: float | None = None) -> None:
        took = time.time() - self._began if seconds is None else seconds
        self.lines.append(f"{took:7.1f} s  {step}")


@pytest.fixture
def app(cluster: Cluster) -> Iterator[ConversationsApp]:
    with conversations_app(cluster, "conversations", ROWS) as made:
        yield made


def totals(sweep: Object) -> tuple[int, int, int]:
    return sweep["planned"], sweep["applied"], sum(sweep[one] for one in ("skipped", "unconfirmed", "retrying", "dead"))


def test_200000_conversations_are_swept_exactly_once_while_workers_scale(app: ConversationsApp) -> None:
    times = Times()
    with app.connect() as root:
        root.execute(REJECT_ONE_ROW.encode())
    make_ready(app, times)

    times.start()
    app.annotate(EXPIRED, "trigger", "1")
    eventually("the first row is swept", 120, app.count_expired)
    app.annotate(IDLE, "trigger", "1")
    most = dict.fromkeys(SWEPT, 0)

    def swept() -> bool:
        for name in SWEPT:
            most[name] = max(most[name], app.replicas(name))
        found = app.counts_by_status()
        return (found.get("expired"), found.get("idle")) == (TABLE["expired"] - 1, TABLE["idle"])

    eventually("all rows but the rejected one are swept", 900, swept)
    times.note("triggered until all rows but the rejected one are swept")
    sweeps = {name: app.until_completed(name) for name in SWEPT}
    closed = "SELECT extract(epoch FROM %s(closed_at)) FROM conversations WHERE status = 'expired'"
    first, last = (float(app.query_value(closed % which)) - app.sweep_started(EXPIRED) for which in ("min", "max"))
    times.note("tick until the first row is applied, from no worker", first)
    times.note(f"the first until the last of {SWEPT[EXPIRED]:,} rows, a webhook each", last - first)

    assert_one_dead_letter(app, sweeps[IDLE])
    assert min(most.values()) > 1
    times.start()
    for name in SWEPT:
        app.until_no_workers(name)
    times.note(f"swept until no worker is left, of {most[EXPIRED]} and {most[IDLE]}")

    retry_dead_letter(app, times)
    print(*times.lines, sep="\n")
    assert first <= FIRST_ROW


def retry_dead_letter(app: ConversationsApp, times: Times) -> None:
    """Remove the cause of the dead letter and retry it: the row is swept, and the schedule is idle again."""
    with app.connect() as root:
        root.execute(b"DROP TRIGGER refuse ON conversations")
    times.start()
    app.annotate(EXPIRED, "retry-dead-letters", "1")
    eventually("the row is swept after the trigger was dropped", 120, lambda: app.counts_by_status() == TABLE)
    times.note("retry of the dead letter until the row is applied, from no worker")
    app.until_condition(EXPIRED, "Degraded", "False")
    app.until_no_workers(EXPIRED)
    nothing = {"ready": 0, "running": 0, "delayed": 0, "dead": 0}
    status = app.until_status(EXPIRED, lambda found: found["queue"] == nothing, "its queue is empty")
    assert status["backlog"]["rows"] == 0
    assert "oldestTime" not in status["backlog"], "the sweep left nothing"
    assert condition(status, "KeepingUp")["reason"] == "NotEnoughSweeps"


def make_ready(app: ConversationsApp, times: Times) -> None:
    """Apply the schedules and wait until they are Ready and have no workers."""
    times.start()
    app.apply(*(app.example_schedule(name, retry={"maxAttempts": 2, "backoff": "1s"}) for name in SWEPT))
    for name in SWEPT:
        app.until_condition(name, "Ready", "True", patience=120)
    times.note("applied until both are Ready, which takes a worker")
    for name in SWEPT:
        app.until_no_workers(name)


def assert_one_dead_letter(app: ConversationsApp, idle_sweep: Object) -> None:
    """Every row was swept once, except the rejected one, which is a dead letter with one Event."""
    status = app.until_status(EXPIRED, lambda found: found["queue"]["dead"] == 1, "it has one dead letter")
    assert condition(status, "Degraded")["reason"] == "DeadLetters"
    assert "series" not in app.until_event(EXPIRED, "DeadLetters")
    assert app.counts_by_status() == TABLE | {"expired": TABLE["expired"] - 1, "pending": TABLE["pending"] + 1}
    assert totals(status["lastSweep"]) == (SWEPT[EXPIRED], SWEPT[EXPIRED] - 1, 1)
    assert totals(idle_sweep) == (SWEPT[IDLE], SWEPT[IDLE], 0)
    assert app.receiver_summary()["keys"] == SWEPT[EXPIRED]
