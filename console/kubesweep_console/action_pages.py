"""The two steps of an action: a page that says what will happen to how many rows, and its form, which does it."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from aiohttp import web

from kubesweep.errors import Outage
from kubesweep.proposal import proposal_lines
from kubesweep_console.documents import Schedule
from kubesweep_console.feed import View
from kubesweep_console.pages import Pages
from kubesweep_console.provider import Action, ActionKind, ActionRefused, Preview
from kubesweep_console.views.schedule import LABELS

__all__ = ["ActionPages"]

KEPT_ANSWERS = 100
_FORM = "application/x-www-form-urlencoded"


class ActionPages:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._done: OrderedDict[str, str] = OrderedDict()  # what was done, by the nonce of its form
        self._acting = asyncio.Lock()

    async def confirm(self, request: web.Request) -> web.Response:
        """What will happen. Without the right to act: the command to copy."""
        pages = self._pages
        view, schedule = await pages.find(request)
        action = self._action(request, schedule, request.query.get("error", ""))
        preview, problem = None, ""
        if pages.may_act(request) and pages.actions is not None:
            try:
                preview = await pages.actions.preview(action)
            except (ActionRefused, Outage) as error:
                problem = str(error)
        context = self._context(schedule, action, preview, problem)
        return pages.page(request, view, "confirm.html", f"{LABELS[action.kind]}: {schedule.name}", **context)

    def _context(self, schedule: Schedule, action: Action, preview: Preview | None, problem: str) -> dict[str, object]:
        return {
            "schedule": schedule,
            "action": action,
            "label": LABELS[action.kind],
            "preview": preview,
            "problem": problem,
            "proposal": proposal_lines(schedule.last)
            if action.kind is ActionKind.APPROVE and schedule.last is not None
            else (),
            "command": self._pages.provider.command(action),
            "token": self._pages.guard.token,
            "nonce": secrets.token_hex(16),
        }

    async def act(self, request: web.Request) -> web.Response:
        """Do what was confirmed, then show the schedule. A form that is sent twice acts once."""
        pages = self._pages
        form = await _form(request)
        view, schedule = await pages.find(request)
        problem = pages.guard.problem_of_post(request, str(form.get("token", "")))
        if problem or pages.actions is None:
            return self._refused(request, view, schedule, "Refused", problem or "This console only shows.", 403)
        action = self._action(request, schedule, str(form.get("error", "")), str(form.get("sweep", "")))
        nonce = str(form.get("nonce", ""))
        async with self._acting:  # a double click sends the form again before the first one is answered
            if nonce not in self._done:
                try:
                    self._done[nonce] = await pages.actions.act(action, nonce)
                except (ActionRefused, Outage) as error:
                    title = f"{LABELS[action.kind]}: not done"
                    return self._refused(request, view, schedule, title, str(error), 409)
                while len(self._done) > KEPT_ANSWERS:
                    self._done.popitem(last=False)
        raise web.HTTPSeeOther(pages.renderer.page_of(schedule, "done", nonce))

    def _refused(
        self, request: web.Request, view: View, schedule: Schedule, title: str, why: str, status: int
    ) -> web.Response:
        return self._pages.page(request, view, "refused.html", title, schedule=schedule, text=why, status=status)

    async def done(self, request: web.Request) -> web.Response:
        """The result. Its text comes from this process, never from the address."""
        pages = self._pages
        view, schedule = await pages.find(request)
        text = self._done.get(request.match_info["nonce"], "")
        if not text:
            raise web.HTTPSeeOther(pages.renderer.page_of(schedule))
        return pages.page(request, view, "done.html", f"Done: {schedule.name}", schedule=schedule, done=text)

    def _action(self, request: web.Request, schedule: Schedule, error: str, sweep: str = "") -> Action:
        kind = ActionKind(request.match_info["action"])  # the route allows no other word
        if kind is ActionKind.APPROVE and not sweep and schedule.last is not None:
            sweep = schedule.last.id
        return Action(kind, schedule.document, error, sweep)


async def _form(request: web.Request) -> Mapping[str, object]:
    """The fields of a form of the console. Anything else that is posted is the mistake of its sender."""
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType(text=f"A form is sent as {_FORM}.\n")
    try:
        return await request.post()
    except (LookupError, ValueError):  # an unknown charset, or bytes that it does not have
        raise web.HTTPBadRequest(text="The form cannot be read.\n") from None
