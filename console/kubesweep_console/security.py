"""Who may read and who may act.

- A request must be addressed to one of the allowed hosts. Otherwise a page of another site could point its own name at this
  address (DNS rebinding), and would then count as the same origin.
- Acting needs the key. The printed link has it once, a cookie keeps it: other users of this machine do not have it. Other sites
  cannot send the cookie (SameSite), and every form has a token that is derived from the key.
- With ``private``, reading needs the key too.
- No page runs or loads anything but the console's own files, and no page may be framed.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kubesweep_console.settings import ConsoleSettings

__all__ = ["Guard"]

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
KEY = "key"  # of the query


class Guard:
    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self.token = self._derived("form") if settings.key else ""

    def _derived(self, purpose: str) -> str:
        return hmac.new(self._settings.key.encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def may_act(self, request: web.Request) -> bool:
        """Whether this browser presented the key."""
        return bool(self._settings.key) and self._same(request.cookies.get(_cookie(request), ""), self._settings.key)

    def problem_of_post(self, request: web.Request, token: str) -> str:
        """Why a form is refused; empty if it is not."""
        if not self.may_act(request):
            return "Open the link that the command printed: this browser has not presented its key."
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return "The form comes from another site."
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return "The form comes from another site."
        return "" if self._same(token, self.token) else "The form is of an earlier run. Go back and open it again."

    @staticmethod
    def _same(given: str, wanted: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._addressed(request.host):
                raise web.HTTPMisdirectedRequest(text="The console does not answer under this host name.\n")
            if KEY in request.query:
                self._take_key(request)
            if self._settings.private and not self.may_act(request):
                raise web.HTTPForbidden(text="Open the link that the command printed: it has the key.\n")
            return await handler(request)

        return guarded

    def _addressed(self, host: str) -> bool:
        if self._settings.hosts is None:
            return True
        try:
            return urlsplit(f"//{host}").hostname in self._settings.hosts
        except ValueError:
            return False

    def _take_key(self, request: web.Request) -> None:
        """Keep the key in a cookie, and out of the address, which is shown, bookmarked and copied."""
        rest = {name: value for name, value in request.query.items() if name != KEY}
        address = request.rel_url.with_query(rest)
        answer = web.HTTPSeeOther("/" + str(address).lstrip("/"))  # two slashes would name another host
        given = request.query[KEY]
        if self._settings.key and self._same(given, self._settings.key):
            answer.set_cookie(
                _cookie(request), given, httponly=True, samesite="Strict", path=self._settings.base or "/"
            )
        raise answer

    @staticmethod
    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        """A signal, called before each response."""
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")


def _cookie(request: web.Request) -> str:
    """The cookie's name. Cookies do not depend on the port: two consoles of one machine need two names. A later console on the
    same port replaces the cookie of the former one, so that a browser does not collect them."""
    return f"kubesweep-console-{request.url.port}"
