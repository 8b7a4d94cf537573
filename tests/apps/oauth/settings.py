"""A Django project with nothing but django-oauth-toolkit and its users. The database is the one that PGHOST, PGUSER and PGDATABASE name."""

from __future__ import annotations

import os

SECRET_KEY = "a test's key: it signs nothing that matters"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}}
USE_TZ = True
TIME_ZONE = "Asia/Kolkata"
OAUTH2_PROVIDER = {
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 3600,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 2 * 3600,
    "CLEAR_EXPIRED_TOKENS_BATCH_SIZE": 50,
    "CLEAR_EXPIRED_TOKENS_BATCH_INTERVAL": 0,
}
