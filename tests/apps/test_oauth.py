"""django-oauth-toolkit: seven schedules leave the same tokens as ``manage.py cleartokens``."""

from __future__ import annotations

from pathlib import Path

from tests.apps.comparison import DatabasePair, libpq, program, run, sweep

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


async def test_the_sweeps_leave_what_cleartokens_leaves(databases: DatabasePair) -> None:
    django("migrate", "-v0", url=databases.swept)
    django("shell", "-c", "import fill; fill.main()", url=databases.swept)
    django("cleartokens", url=databases.copy())
    applied = await sweep(APPLICATION / "sweep.yaml", databases.swept)

    assert all(applied.values()), applied
    assert databases.compare("django-oauth-toolkit") == {
        "oauth2_provider_accesstoken": applied["expired-access-tokens"],
        "oauth2_provider_grant": applied["expired-grants"],
        "oauth2_provider_idtoken": applied["expired-id-tokens"],
        "oauth2_provider_refreshtoken": sum(applied[name] for name in applied if name.endswith("d-refresh-tokens")),
    }
