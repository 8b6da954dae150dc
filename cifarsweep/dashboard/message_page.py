"""A page with one sentence, for every answer that is not a report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from http import HTTPStatus

from starlette.responses import HTMLResponse

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{refresh}<title>{title} · cifarsweep</title>
<style>body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1.25rem;
overflow-wrap: anywhere; }}</style></head>
<body><h1>{title}</h1><p>{sentence}</p>{after}</body></html>
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def message_page(
    status: int,
    sentence: str,
    *,
    go_to: str | None = None,
    again_s: int | None = None,
    back: bool = False,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The sentence as a page that loads nothing. It may go on to another page, load again, or link to the index."""
    target = f"0; url={go_to}" if go_to else str(again_s)
    refresh = f'<meta http-equiv="refresh" content="{escape(target)}">' if go_to or again_s else ""
    after = f'<p><a href="{escape(go_to)}">Go on</a></p>' if go_to else ""
    after += '<p><a href="/">All studies</a></p>' if back else ""
    title = "cifarsweep" if status == HTTPStatus.OK else HTTPStatus(status).phrase
    html = _PAGE.format(title=title, sentence=escape(sentence), refresh=refresh, after=after)
    extra = {"retry-after": str(again_s)} if again_s else {}
    return HTMLResponse(html, status, {"content-security-policy": _POLICY, **extra, **(headers or {})})
