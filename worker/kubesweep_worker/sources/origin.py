"""The origin of a row's key: which database, schema, table and key columns it belongs to.

The queue keeps keys of rows that fail. After an edit of ``table`` or ``key``, or with another URL, the same text names
another row, so the queue keeps each such key with its origin. The database identifies itself; only where it cannot, host and
port of the URL are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

SHOWN = 100  # characters of the readable part
_UNQUOTED = str.maketrans({"[": "(", "]": ")"})  # in the queue a bracket separates the origin from the key


def origin_of(database: Sequence[str], table: str, key: Sequence[str]) -> str:
    """``public.conversations(id) #0f3c...``: the table and its key for readers, and a hash of everything for comparisons."""
    whole = json.dumps([list(database), table, list(key)])
    shown = f"{table}({', '.join(key)})"[:SHOWN].translate(_UNQUOTED)
    return f"{shown} #{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
