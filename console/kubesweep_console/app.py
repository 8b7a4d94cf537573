"""Puts the console together: an aiohttp application that a program serves itself, or mounts below another one."""

from __future__ import annotations

from aiohttp import web

from kubesweep_console.action_pages import ActionPages
from kubesweep_console.pages import Pages
from kubesweep_console.provider import ActionKind, Actions, DataProvider
from kubesweep_console.security import Guard
from kubesweep_console.settings import ConsoleSettings

__all__ = ["build_console"]

_MAX_FORM = 16 * 1024  # bytes


def build_console(
    provider: DataProvider, settings: ConsoleSettings | None = None, actions: Actions | None = None
) -> web.Application:
    """The console of ``provider``. Without ``actions``, or without ``ConsoleSettings.key``, it only shows."""
    settings = settings or ConsoleSettings()
    guard = Guard(settings)
    pages = Pages(provider, actions, settings, guard)
    acting = ActionPages(pages)
    app = web.Application(middlewares=[guard.middleware], client_max_size=_MAX_FORM)
    app.on_response_prepare.append(guard.add_headers)
    app.on_shutdown.append(pages.close)
    one = "/schedules/{namespace}/{name}"
    action = f"{one}/{{action:{'|'.join(ActionKind)}}}"
    app.add_routes(
        [
            web.get("/", pages.fleet),
            web.get("/dead-letters", pages.dead_letters),
            web.get("/databases", pages.databases),
            web.get(one, pages.schedule),
            web.get(f"{one}/sweeps/{{sweep}}", pages.sweep),
            web.get(f"{one}/dead-letters", pages.dead_letters),
            web.get(f"{one}/done/{{nonce}}", acting.done),
            web.get(action, acting.confirm),
            web.post(action, acting.act),
            web.get("/events", pages.events),
            web.get("/static/{file}", pages.static),
        ]
    )
    return app
