"""django-oauth-toolkit: seven schedules leave exactly the tokens that ``manage.py cleartokens`` leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.apps.beside import assert_same, database_name, libpq, program, removed, rows, run, summary, sweep
from tests.integration.postgres import Server

APPLICATION = Path(__file__).parent / "oauth"


def django(*arguments: str, url: str) -> None:
    run(
        program("django-oauth-toolkit"),
        "-m",
        "django",
        *arguments,
        cwd=APPLICATION,
        DJANGO_SETTINGS_MODULE="settings",
        **libpq(url),
    )


async def test_the_sweeps_leave_what_cleartokens_leaves(
    database: str, postgres_server: Server, record_property: Callable[[str, object], None]
) -> None:
    django("migrate", "-v0", url=database)
    django("shell", "-c", "import fill; fill.main()", url=database)
    cleaned = postgres_server.create(template=database_name(database))
    before = rows(database)

    django("cleartokens", url=cleaned)
    applied = await sweep(APPLICATION / "sweep.yaml", database)

    left = rows(database)
    assert_same(left, rows(cleaned))
    assert all(applied.values()), applied
    assert removed(before, left) == {
        "oauth2_provider_accesstoken": applied["expired-access-tokens"],
        "oauth2_provider_grant": applied["expired-grants"],
        "oauth2_provider_idtoken": applied["expired-id-tokens"],
        "oauth2_provider_refreshtoken": sum(applied[name] for name in applied if name.endswith("d-refresh-tokens")),
    }
    record_property("rows", summary("django-oauth-toolkit", before, left))
    postgres_server.drop(cleaned)
