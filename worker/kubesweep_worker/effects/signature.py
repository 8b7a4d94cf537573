"""Sign a webhook's request as Standard Webhooks 1.0 specify (https://www.standardwebhooks.com): an id that is the same for each
retry, the time of this request, and an HMAC-SHA256 of both and the body for each secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Sequence

from kubesweep.api.secret_values import signing_key

__all__ = ["signature", "webhook_id"]

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://kubesweep.dev/webhook-id")


def webhook_id(keys: Sequence[str]) -> str:
    """The id of a request for the rows with these Idempotency-Keys, whatever their order. That of one row is its key."""
    return keys[0] if len(keys) == 1 else str(uuid.uuid5(_SPACE, "\n".join(sorted(keys))))


def signature(secrets: Sequence[str], id_: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature: ``v1,`` and base64, once for each secret. ``timestamp`` is in seconds since the epoch.

    Raises ValueError for a secret that :func:`signing_key` refuses.
    """
    signed = f"{id_}.{timestamp}.".encode() + body
    digests = (hmac.digest(signing_key(secret), signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
