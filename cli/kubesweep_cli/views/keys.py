"""Keys of rows as the terminal shows them and as ``--key`` takes them."""

from __future__ import annotations

from kubesweep.queue.model import Key, key_text, parse_key
from kubesweep.text import escaped

__all__ = ["plain_key"]


def plain_key(key: Key) -> str:
    """``42`` for a single key, ``["eu","17"]`` for a composite one and for one that looks like it.

    Characters that a terminal cannot show are escaped. ``--key`` takes both forms.
    """
    bare = len(key) == 1 and key[0].isprintable() and parse_key(key[0]) == key
    return key[0] if bare else escaped(key_text(key))
