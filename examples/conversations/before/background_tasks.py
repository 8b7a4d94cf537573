"""The loop that Kubesweep replaces: one thread that does everything. It is kept for docs/migrating.md and bench/.

Its problems, the worst first:

* after a crash between the notification and the commit it notifies again, and the receiver cannot detect the duplicate;
* a row whose notification always fails is first in every round, and blocks all rows after it;
* it closes a conversation even if the customer has just answered, because the UPDATE does not check the condition again;
* it processes 100 rows per round with one commit per row, and falls behind under load;
* a second copy of the loop processes the same rows again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

BATCH = 100
PAUSE = 60.0  # seconds between two rounds

Conversation = dict[str, Any]
Notify = Callable[[str, Conversation], None]

log = logging.getLogger("background_tasks")

FIND_IDLE = """
    SELECT id, from_number, session_key FROM conversations
    WHERE status IN ('pending', 'progress') AND updated_at < now() - interval '30 minutes' AND expires_at >= now()
    LIMIT %s
"""
FIND_EXPIRED = """
    SELECT id, from_number, session_key FROM conversations
    WHERE status IN ('pending', 'progress') AND expires_at < now()
    LIMIT %s
"""
CLOSE_IDLE = "UPDATE conversations SET status = 'idle' WHERE id = %s"
CLOSE_EXPIRED = "UPDATE conversations SET status = 'expired', closed_at = now() WHERE id = %s"


def notify(what: str, conversation: Conversation) -> None:
    log.info("%s: notified %s", what, conversation["from_number"])


def process_idle_conversations(connection: psycopg.Connection[Any], tell: Notify = notify) -> int:
    """One round over idle conversations. Returns how many it processed."""
    return _round(connection, "idle", FIND_IDLE, CLOSE_IDLE, tell)


def process_expired_conversations(connection: psycopg.Connection[Any], tell: Notify = notify) -> int:
    """One round over expired conversations. Returns how many it processed."""
    return _round(connection, "expired", FIND_EXPIRED, CLOSE_EXPIRED, tell)


def _round(connection: psycopg.Connection[Any], what: str, find: str, close: str, tell: Notify) -> int:
    with connection.cursor(row_factory=dict_row) as cursor:
        conversations = cursor.execute(find, (BATCH,)).fetchall()
    for conversation in conversations:
        tell(what, conversation)
        connection.execute(close, (conversation["id"],))
    return len(conversations)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while True:
            idle = process_idle_conversations(connection)
            expired = process_expired_conversations(connection)
            log.info("round done: idle=%d expired=%d", idle, expired)
            if idle + expired == 0:
                time.sleep(PAUSE)


if __name__ == "__main__":
    main()
