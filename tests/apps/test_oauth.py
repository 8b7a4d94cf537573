"""django-oauth-toolkit: seven schedules leave exactly the tokens that ``manage.py cleartokens`` leaves."""

from __future__ import annotations

from pathlib import Path

from tests.apps.comparison import Twins, libpq, program, run, sweep

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


async def test_the_sweeps_leave_what_cleartokens_leaves(twins: Twins) -> None:
    django("migrate", "-v0", url=twins.swept)
    django("shell", "-c", "import fill; fill.main()", url=twins.swept)
    django("cleartokens", url=twins.part())
    applied = await sweep(APPLICATION / "sweep.yaml", twins.swept)

    assert all(applied.values()), applied
    assert twins.compare("django-oauth-toolkit") == {
        "oauth2_provider_accesstoken": applied["expired-access-tokens"],
        "oauth2_provider_grant": applied["expired-grants"],
        "oauth2_provider_idtoken": applied["expired-id-tokens"],
        "oauth2_provider_refreshtoken": sum(applied[name] for name in applied if name.endswith("d-refresh-tokens")),
    }
