"""The routes: pages of the report under their own file names, their script, and one stream of events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from cifarsweep.dashboard.access import LOOPBACK_NAMES, Guard
from cifarsweep.dashboard.event_stream import Hub
from cifarsweep.dashboard.message_page import notice
from cifarsweep.dashboard.page_cache import Pages
from cifarsweep.errors import CifarsweepError
from cifarsweep.report.render import INDEX, PLOTLY, plotly_js

_STATIC = Path(__file__).with_name("static")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
#: After so many seconds a page that found no database looks again.
_AGAIN_S = 3

Handler = Callable[[Request], Awaitable[Response]]


def build_app(pages: Pages, hub: Hub, token: str | None = None, hosts: Sequence[str] = LOOPBACK_NAMES) -> ASGIApp:
    """The application. Without a token it answers only to the names in `hosts`."""
    routes = [
        Route("/", _page_of(pages, INDEX)),
        Route("/events", _events_of(hub)),
        Route(f"/{PLOTLY}", _file(plotly_js, ".js")),
        Route("/live.js", _file((_STATIC / "live.js").read_bytes, ".js")),
        Route("/live.css", _file((_STATIC / "live.css").read_bytes, ".css")),
        Route("/favicon.ico", _nothing),
        Route("/{file}", _page_of(pages)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed, CifarsweepError: _away})
    return Guard(app, token, hosts)


def _page_of(pages: Pages, file: str | None = None) -> Handler:
    async def page(request: Request) -> Response:
        name = file or request.path_params["file"]
        found = await to_thread.run_sync(pages.page, name)
        if found is None:
            raise HTTPException(404)
        return _unless_known(request, found.html, "text/html; charset=utf-8", found.stamp)

    return page


def _file(read: Callable[[], bytes], suffix: str) -> Handler:
    async def file(request: Request) -> Response:
        content = read()
        return _unless_known(request, content, _TYPES[suffix], f"{len(content):x}-{hash(content) & 0xFFFFFFFF:x}")

    return file


def _unless_known(request: Request, content: bytes, kind: str, stamp: str) -> Response:
    """The content, or only that it is what the browser has already."""
    headers = {"etag": f'"{stamp}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def _events_of(hub: Hub) -> Handler:
    async def events(request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(hub.stream(), media_type="text/event-stream", headers=headers)

    return events


async def _nothing(request: Request) -> Response:
    return Response(status_code=204)


async def _failed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentence = "There is no such page here." if status == 404 else "That can't be answered."
    return notice(status, sentence, back=status == 404)


async def _away(request: Request, error: Exception) -> Response:
    return notice(503, f"{error}. This page looks again by itself.", again_s=_AGAIN_S)
