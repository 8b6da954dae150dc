"""Which requests are answered: those that only read, from this machine or with the token.

Every answer has headers that say what a browser may do with it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarsweep.dashboard.message_page import message_page

#: The names of this machine in requests of its own browsers.
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
#: Wrong tokens that cost nothing; after each further one the address waits twice as long, at most an hour.
_FREE_GUESSES = 20
_LONGEST_WAIT_S = 3600.0
#: Addresses that are remembered, those of the newest guesses.
_MOST_ADDRESSES = 10_000


class AccessControl:
    """Middleware in front of the application. `hosts` are the names it answers to without a token."""

    def __init__(self, app: ASGIApp, token: str | None, hosts: Sequence[str] = LOOPBACK_NAMES) -> None:
        self._app, self._token, self._hosts = app, token, hosts
        self._guesses = GuessLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            return
        answer = await self._refusal(scope, receive) or self._app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store" if message["status"] >= 400 else "no-cache")
            await send(message)

        await answer(scope, receive, with_headers)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return message_page(405, "This page can only be read.", headers={"allow": "GET, HEAD"})
        if self._token is not None:
            return self._check_token(scope, Headers(scope=scope), self._token)
        # Another site may point a name of its own at this machine, and would read pages that are not meant for it.
        if await _is_trusted(scope, receive, self._hosts):
            return None
        return message_page(400, "This name is not one of the dashboard's: open it as localhost.")

    def _check_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        # A cookie can't be guessed, so a browser that has one need not wait because of others' guesses.
        known = _same(_cookie(headers, _cookie_name(scope)), _cookie_value(token))
        in_query = next((value for name, value in query if name == "token"), None)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = in_query if in_query is not None else bearer.strip() if kind.lower() == "bearer" else None
        if given is None and known:
            return None
        wait_s = self._guesses.wait_s(_address(scope)) if given is not None and not known else 0
        if wait_s:
            sentence = f"Too many wrong tokens came from this address; try again in {wait_s} s."
            return message_page(429, sentence, headers={"retry-after": str(wait_s)})
        if given is not None and _same(given, token):
            self._guesses.forget(_address(scope))
            rest = [(name, value) for name, value in query if name != "token"]
            return None if in_query is None else self._set_cookie(scope, rest, token)
        if known:
            return None
        if given is not None:
            self._guesses.record(_address(scope))
        sentence = "A token is needed: open this address with ?token=… at its end, the text that --token was given."
        return message_page(401, sentence, headers={"www-authenticate": "Bearer"})

    def _set_cookie(self, scope: Scope, query: list[tuple[str, str]], token: str) -> Response:
        """Move the token to a cookie, out of the address bar, bookmarks and history."""
        # A page of our own and nothing else: browsers read `//name`, and `/` and a tab before it, as another machine.
        path = quote(scope["path"]) if _OWN.fullmatch(scope["path"]) else "/"
        target = path + (f"?{urlencode(query)}" if query else "")
        # Not a redirect: a browser that comes from another site would not send a strict cookie along with it.
        response = message_page(200, "Welcome.", go_to=target)
        response.set_cookie(_cookie_name(scope), _cookie_value(token), httponly=True, samesite="strict", path="/")
        return response


async def _is_trusted(scope: Scope, receive: Receive, hosts: Sequence[str]) -> bool:
    """Whether Starlette's middleware passes the request on; its own refusal does not say what to do."""
    passed = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal passed
        passed = True

    async def discard(message: Message) -> None:
        pass

    await TrustedHostMiddleware(app, hosts, www_redirect=False)(scope, receive, discard)
    return passed


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _cookie_name(scope: Scope) -> str:
    """Browsers send a cookie to every port of a machine, so each dashboard has its own."""
    server = scope.get("server")
    return f"cifarsweep-{server[1] if server else 0}"


def _cookie(headers: Headers, name: str) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _cookie_value(token: str) -> str:
    """The value of the cookie, which opens this dashboard and does not reveal the token."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), b"cifarsweep dashboard", hashlib.sha256).hexdigest()


def _same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class _Guesses:
    wrong: int
    until: float


class GuessLimiter:
    """Counts wrong tokens by address, those of an IPv6 network together, and lets frequent guessers wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Whole seconds until the address may try again; 0 if it may now."""
        guesses = self._guesses.get(_network(address))
        return max(0, math.ceil(guesses.until - self._clock())) if guesses else 0

    def record(self, address: str) -> None:
        """Count a wrong token."""
        network = _network(address)
        before = self._guesses.pop(network, None)
        count = before.wrong + 1 if before else 1
        wait_s = min(_LONGEST_WAIT_S, 2.0 ** (count - _FREE_GUESSES)) if count > _FREE_GUESSES else 0.0
        self._guesses[network] = _Guesses(count, self._clock() + wait_s)
        while len(self._guesses) > _MOST_ADDRESSES:
            self._guesses.popitem(last=False)

    def forget(self, address: str) -> None:
        """Forget the wrong tokens of an address that sent the right one."""
        self._guesses.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
