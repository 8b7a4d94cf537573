"""A Django project with only sessions. DATABASE_URL is postgresql://... or sqlite:///file; the default is sqlite:///shop.sqlite3."""

from __future__ import annotations

import os

from psycopg.conninfo import conninfo_to_dict

DEFAULT = "sqlite:///shop.sqlite3"


def database(url: str) -> dict[str, object]:
    """Django's database settings for a URL of the same form as the sweep's."""
    if url.startswith("sqlite:///"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    given = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {"ENGINE": "django.db.backends.postgresql"} | {
        ours: given.get(theirs) or "" for ours, theirs in names.items()
    }


SECRET_KEY = "for this example only"
INSTALLED_APPS = ["django.contrib.sessions", "shop"]
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATABASES = {"default": database(os.environ.get("DATABASE_URL", DEFAULT))}
USE_TZ = True
TIME_ZONE = "America/Sao_Paulo"  # Django stores UTC regardless
