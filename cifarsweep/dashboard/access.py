"""Who may look: requests that only read, from this machine, or with the token; every answer says what it may do."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarsweep.dashboard.message_page import notice
from cifarsweep.dashboard.rate_limit import Brake

#: What browsers call this machine when they ask a server on it.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
#: The paths of our pages: one name below the root.
_OWN = re.compile(r"/[\w][\w .+-]*|/")
_HEADERS = {
    # What a page may load stands in the page itself; only a header can forbid that it is framed.
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Stands before the application. `hosts` are the names it answers to without a token."""

    def __init__(self, app: ASGIApp, token: str | None, hosts: Sequence[str] = LOOPBACK_NAMES) -> None:
        self._app, self._token, self._hosts = app, token, frozenset(hosts)
        self._brake = Brake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer itself, or let the request through."""
        if scope["type"] != "http":
            return
        answer = self._refusal(scope) or self._app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store" if message["status"] >= 400 else "no-cache")
            await send(message)

        await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return notice(405, "This page can only be read.", headers={"allow": "GET, HEAD"})
        headers = Headers(scope=scope)
        if self._token is None:
            # A page elsewhere may point a name of its own at this machine and read what is not meant for it.
            if _host(headers.get("host", "")) in self._hosts:
                return None
            return notice(400, "The dashboard is asked for under a name that it doesn't know: open it as localhost.")
        return self._unless_known(scope, headers, self._token)

    def _unless_known(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        # Nobody guesses a cookie, so who has one waits for nobody else's guesses.
        known = _same(_cookie(headers, _cookie_name(scope)), _pass(token))
        in_query = next((value for name, value in query if name == "token"), None)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = in_query if in_query is not None else bearer.strip() if kind.lower() == "bearer" else None
        if given is None and known:
            return None
        wait_s = self._brake.wait_s(_address(scope)) if given is not None and not known else 0
        if wait_s:
            sentence = f"Too many wrong tokens came from this address; try again in {wait_s} s."
            return notice(429, sentence, headers={"retry-after": str(wait_s)})
        if given is not None and _same(given, token):
            self._brake.right(_address(scope))
            rest = [(name, value) for name, value in query if name != "token"]
            return None if in_query is None else self._welcome(scope, rest, token)
        if known:
            return None
        if given is not None:
            self._brake.wrong(_address(scope))
        sentence = "A token is needed: open this address with ?token=… at its end, with what --token was given."
        return notice(401, sentence, headers={"www-authenticate": "Bearer"})

    def _welcome(self, scope: Scope, query: list[tuple[str, str]], token: str) -> Response:
        """Keep the token out of the address bar, of bookmarks and of the history."""
        # A page of our own and nothing else: browsers read `//name`, and `/` and a tab before it, as another machine.
        path = quote(scope["path"]) if _OWN.fullmatch(scope["path"]) else "/"
        target = path + (f"?{urlencode(query)}" if query else "")
        # Not a redirect: a browser that comes from another site would not send a strict cookie along with it.
        response = notice(200, "Welcome.", go_to=target)
        response.set_cookie(_cookie_name(scope), _pass(token), httponly=True, samesite="strict", path="/")
        return response


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return (header.partition("]")[0] + "]").lower()
    return header.partition(":")[0].lower()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _cookie_name(scope: Scope) -> str:
    """Browsers send a cookie to every port of a machine, so each dashboard has its own."""
    server = scope.get("server")
    return f"cifarsweep-{server[1] if server else 0}"


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _pass(token: str) -> str:
    """What the cookie holds: it opens this dashboard and doesn't tell the token."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), b"cifarsweep dashboard", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    """Compare in a time that doesn't tell how much was right."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))
