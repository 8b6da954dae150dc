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

from cifarsweep.dashboard.access import LOOPBACK_NAMES, AccessControl
from cifarsweep.dashboard.event_stream import EventStream
from cifarsweep.dashboard.message_page import message_page
from cifarsweep.dashboard.page_cache import PageCache
from cifarsweep.errors import CifarsweepError
from cifarsweep.report.render import INDEX, PLOTLY, plotly_js

_STATIC = Path(__file__).with_name("static")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
#: Seconds after which a page that found no database loads again.
_RETRY_S = 3

Handler = Callable[[Request], Awaitable[Response]]


def build_app(
    pages: PageCache, stream: EventStream, token: str | None = None, hosts: Sequence[str] = LOOPBACK_NAMES
) -> ASGIApp:
    """The application. Without a token it answers only to the names in `hosts`."""
    routes = [
        Route("/", _page_of(pages, INDEX)),
        Route("/events", _events_of(stream)),
        Route(f"/{PLOTLY}", _file(plotly_js, ".js")),
        Route("/live.js", _file((_STATIC / "live.js").read_bytes, ".js")),
        Route("/live.css", _file((_STATIC / "live.css").read_bytes, ".css")),
        Route("/favicon.ico", _nothing),
        Route("/{file}", _page_of(pages)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed, CifarsweepError: _away})
    return AccessControl(app, token, hosts)


def _page_of(pages: PageCache, file: str | None = None) -> Handler:
    async def page(request: Request) -> Response:
        name = file or request.path_params["file"]
        rendered = await to_thread.run_sync(pages.page, name)
        if rendered is None:
            raise HTTPException(404)
        return _content(request, rendered.html, "text/html; charset=utf-8", rendered.stamp)

    return page


def _file(read: Callable[[], bytes], suffix: str) -> Handler:
    async def file(request: Request) -> Response:
        content = read()
        return _content(request, content, _TYPES[suffix], f"{len(content):x}-{hash(content) & 0xFFFFFFFF:x}")

    return file


def _content(request: Request, content: bytes, kind: str, stamp: str) -> Response:
    """The content, or status 304 if the browser has it already."""
    headers = {"etag": f'"{stamp}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def _events_of(stream: EventStream) -> Handler:
    async def events(request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(stream.events(), media_type="text/event-stream", headers=headers)

    return events


async def _nothing(request: Request) -> Response:
    return Response(status_code=204)


async def _failed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentence = "There is no such page here." if status == 404 else "An error kept the dashboard from answering."
    return message_page(status, sentence, back=status == 404)


async def _away(request: Request, error: Exception) -> Response:
    return message_page(503, f"{error}. This page tries again by itself.", again_s=_RETRY_S)
