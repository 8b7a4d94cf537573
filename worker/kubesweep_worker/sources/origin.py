"""The origin of a row's key: which database, schema, table and key columns it belongs to.

The queue keeps keys of rows that fail. After an edit of ``table`` or ``key``, or with another URL, the same text names
another row, so each such key is kept with its origin. The database says who it is; the URL only where it cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

SHOWN = 100  # characters of the origin that a person reads
_UNQUOTED = str.maketrans({"[": "(", "]": ")"})  # in a queue a bracket ends the origin and begins the key


def origin_of(database: Sequence[str], table: str, key: Sequence[str]) -> str:
    """``public.conversations(id) #0f3c...``: for people the table and its key, for programs a hash of everything."""
    whole = json.dumps([list(database), table, list(key)])
    shown = f"{table}({', '.join(key)})"[:SHOWN].translate(_UNQUOTED)
    return f"{shown} #{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
