"""Tokens of every kind, on either side of every boundary that ``cleartokens`` has, through the toolkit's own models."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, DeviceGrant, Grant, IDToken, RefreshToken

NOW = timezone.now()
EXPIRY = [NOW - timedelta(days=40), NOW - timedelta(days=30, hours=1), NOW - timedelta(days=30, hours=-1)]
EXPIRY += [NOW - timedelta(hours=1), NOW + timedelta(hours=1)]
REVOKED = [None, NOW - timedelta(hours=3), NOW - timedelta(hours=1)]  # the grace period is two hours
numbers = itertools.count()


def fill(owner: dict[str, Any]) -> None:
    for expires, ids in itertools.product(EXPIRY, (None, *EXPIRY)):
        access(owner, expires, ids)
        for revoked in REVOKED:
            refresh(owner, access(owner, expires, ids), revoked)
    for revoked, expires in itertools.product(REVOKED, EXPIRY):
        orphan = refresh(owner, None, revoked)
        rotated = refresh(owner, access(owner, expires), revoked)
        for source in (orphan, rotated):  # the access token that was issued for the refresh token
            access(owner, EXPIRY[-1], source_refresh_token=source)
    for expires in EXPIRY:
        IDToken.objects.create(**owner, expires=expires)
        Grant.objects.create(
            **owner, code=f"code {next(numbers)}", expires=expires, redirect_uri="https://shop.example/back"
        )
        name = f"device {next(numbers)}"
        DeviceGrant.objects.create(
            user=owner["user"], device_code=name, user_code=name, expires=expires, client_id="tv"
        )


def access(owner: dict[str, Any], expires: datetime, ids: datetime | None = None, **more: Any) -> AccessToken:
    if ids is not None:
        more["id_token"] = IDToken.objects.create(**owner, expires=ids)
    return AccessToken.objects.create(**owner, token=f"access {next(numbers)}", expires=expires, **more)


def refresh(owner: dict[str, Any], token: AccessToken | None, revoked: datetime | None) -> RefreshToken:
    return RefreshToken.objects.create(**owner, token=f"refresh {next(numbers)}", access_token=token, revoked=revoked)


def main() -> None:
    with transaction.atomic():
        for name in ("ana", "bo", "chen"):
            user = User.objects.create(username=name)
            client = Application.objects.create(name=name, user=user, client_type="public")
            fill({"user": user, "application": client})
