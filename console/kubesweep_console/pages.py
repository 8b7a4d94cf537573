"""The pages that only show something, and the stream that reports that there is something new."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NoReturn

from aiohttp import web

from kubesweep.errors import Outage
from kubesweep_console.documents import Schedule
from kubesweep_console.feed import Feed, NextTicks, View
from kubesweep_console.provider import Actions, DataProvider
from kubesweep_console.rendering import STATIC, Renderer
from kubesweep_console.security import Guard
from kubesweep_console.settings import ConsoleSettings
from kubesweep_console.times import moment_of, zone_of
from kubesweep_console.views.databases import databases
from kubesweep_console.views.dead_letters import Group, groups_of
from kubesweep_console.views.fleet import Filter, Fleet, fleet, matching
from kubesweep_console.views.schedule import schedule_page
from kubesweep_console.views.sweeps import progress

__all__ = ["Pages"]

LATEST = "latest"
MOST_SCHEDULES = 50  # whose dead letters are read for one page
_YEAR = 365 * 86400


class Pages:
    def __init__(
        self, provider: DataProvider, actions: Actions | None, settings: ConsoleSettings, guard: Guard
    ) -> None:
        self.provider, self.actions, self.settings, self.guard = provider, actions, settings, guard
        self.feed = Feed(provider, settings)
        self.renderer = Renderer(settings.base)
        self._next_ticks = NextTicks()
        self._closing = asyncio.Event()
        self._streams = 0

    def may_act(self, request: web.Request) -> bool:
        return self.actions is not None and self.guard.may_act(request)

    def page(self, request: web.Request, view: View, template: str, title: str, **context: Any) -> web.Response:
        now = self.settings.clock()
        shared = {
            "title": title,
            "owner": self.provider.title,
            "view": view,
            "read_at": moment_of(view.read_at or None, now),
            "acting": self.may_act(request),
            "acts_elsewhere": self.actions is not None and not self.may_act(request),
            "interval": self.settings.interval,
            "done": "",
        }
        status = context.pop("status", 200)
        text = self.renderer.render(template, **(shared | context))
        return web.Response(text=text, content_type="text/html", status=status)

    def message(self, request: web.Request, view: View, title: str, text: str, status: int) -> web.Response:
        return self.page(request, view, "message.html", title, text=text, status=status)

    async def find(self, request: web.Request) -> tuple[View, Schedule]:
        """The schedule that the address names."""
        view = await self.feed.latest()
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        uid = request.query.get("uid", "")
        same = (each for each in view.schedules if (each.namespace, each.name) == (namespace, name))
        found = [each for each in same if uid in ("", each.uid)]
        if not found:
            self._missing(request, view, f"There is no schedule {name} in the namespace {namespace}.")
        return view, found[0]

    def _missing(self, request: web.Request, view: View, text: str) -> NoReturn:
        if not view.read_at and not view.schedules:  # what exists is not known
            answer = self.message(request, view, "Not known", "Nothing was read yet.", 503)
            raise web.HTTPServiceUnavailable(text=answer.text, content_type="text/html")
        answer = self.message(request, view, "Not found", text, 404)
        raise web.HTTPNotFound(text=answer.text, content_type="text/html")

    async def fleet(self, request: web.Request) -> web.Response:
        view, now = await self.feed.latest(), self.settings.clock()
        self._next_ticks.now = now
        shown: Fleet = fleet(view.schedules, _filter(request), now, self._next_ticks)
        return self.page(request, view, "fleet.html", "Schedules", fleet=shown, first=self.provider.first)

    async def schedule(self, request: web.Request) -> web.Response:
        view, found = await self.find(request)
        shown = schedule_page(found, self.settings.clock(), self.provider.command)
        return self.page(request, view, "schedule.html", found.name, schedule=found, page=shown)

    async def sweep(self, request: web.Request) -> web.Response:
        view, found = await self.find(request)
        wanted = request.match_info["sweep"]
        sweeps = found.sweeps
        sweep = next((each for each in sweeps if wanted in (each.id, LATEST)), None)
        if sweep is None:
            self._missing(request, view, f"{found.name} has no sweep {wanted}. Only the latest sweeps are kept.")
        readings = self.feed.readings(sweep.id)
        shown = progress(found, sweep, readings, self.settings.clock(), zone_of(found.ticks))
        return self.page(request, view, "sweep.html", f"Sweep of {found.name}", schedule=found, progress=shown)

    async def dead_letters(self, request: web.Request) -> web.Response:
        """Of one schedule, or of all that the filter leaves."""
        if "name" in request.match_info:
            view, schedule = await self.find(request)
            found, title = [schedule], f"Dead letters of {schedule.name}"
        else:
            view = await self.feed.latest()
            found, title = [each for each, _ in matching(view.schedules, _filter(request)) if each.dead], "Dead letters"
        found.sort(key=lambda each: -each.dead)
        try:
            groups = await self._groups(found[:MOST_SCHEDULES])
        except Outage as error:
            return self.message(request, view, title, f"The dead letters cannot be read: {error}", 503)
        left_out = max(0, len(found) - MOST_SCHEDULES)
        one = found[0] if "name" in request.match_info else None
        context = {"groups": groups, "schedule": one, "left_out": left_out, "chosen": _filter(request)}
        return self.page(request, view, "dead_letters.html", title, **context)

    async def _groups(self, schedules: list[Schedule]) -> list[Group]:
        now = self.settings.clock()
        found: list[Group] = []
        for each in schedules:
            letters = await self.provider.dead_letters(each.document)
            found += groups_of(each, letters, now, self.provider.command)
        return found

    async def databases(self, request: web.Request) -> web.Response:
        view = await self.feed.latest()
        chosen = _filter(request)
        shown = databases(matching(view.schedules, chosen), self.settings.clock())
        return self.page(request, view, "databases.html", "Databases", databases=shown, chosen=chosen)

    async def static(self, request: web.Request) -> web.Response:
        if request.match_info["file"] not in STATIC:
            raise web.HTTPNotFound
        body, kind = STATIC[request.match_info["file"]]
        headers = {"Cache-Control": f"max-age={_YEAR}, immutable"}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the version of the data, in each interval. The page reads itself again if it has another one."""
        if self._streams >= self.settings.streams:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.\n")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self._streams += 1
        try:
            with suppress(ConnectionError):  # the page was closed
                await answer.prepare(request)
                await self._report_versions(answer)
        finally:
            self._streams -= 1
        return answer

    async def _report_versions(self, answer: web.StreamResponse) -> None:
        while not self._closing.is_set():
            view = await self.feed.latest()
            await answer.write(f"data: {view.version}\n\n".encode())
            try:
                await asyncio.wait_for(self._closing.wait(), self.settings.interval)
            except TimeoutError:
                continue

    async def close(self, _: web.Application) -> None:
        """End the streams, so that the server can stop."""
        self._closing.set()
        await self.feed.close()


def _filter(request: web.Request) -> Filter:
    query = request.query
    return Filter(query.get("namespace", ""), query.get("text", "")[:200], query.get("all") == "1")
