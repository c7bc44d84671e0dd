"""The sites of the example program: one small page by host name, on the app's own port. Only with `--demo`."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

SITES = {
    "livechat.localhost": ("LiveChat", "Talk to your customers while they are on your site.", "Start a free trial"),
    "partners.localhost": ("Partner Program", "Recommend LiveChat and earn 20 % of what it earns.", "Become a partner"),
}
MAX_SHOWN = 20  # query parameters
MAX_SHOWN_LENGTH = 200  # of a name or a value

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} (example site)</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 17px/1.6 system-ui, sans-serif; margin: 0; color: #1b1f24; background: #f7f7f4 }}
.note {{ background: #ffd000; color: #1b1f24; padding: .6rem 1.5rem; font-weight: 600 }}
main {{ max-width: 42rem; margin: 4rem auto; padding: 0 1.5rem }}
h1 {{ font-size: 2.6rem; line-height: 1.1; margin: 0 0 .5rem }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; margin-top: 1rem }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-top: 1px solid #8885; overflow-wrap: anywhere }}
th {{ width: 9rem; font-weight: 600 }}
.button {{ display: inline-block; padding: .6rem 1.2rem; border-radius: .4rem; background: #8a8f98; color: #fff }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #e8e8e4 }} }}
</style>
<div class="note">Example site: invented for <code>lasttouch serve --demo</code>. Nothing is sold here.</div>
<main>
<h1>{name}</h1>
<p>{claim}</p>
<p><span class="button" aria-disabled="true">{action}</span></p>
<h2>What the affiliate link brought along</h2>
{brought}
</main></html>
"""


class ExampleSites:
    """Answers requests to the example sites' hosts itself, and hands all others to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "").partition(":")[0].lower()
            if host in SITES:
                await show(host, Request(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def show(host: str, request: Request) -> Response:
    """A site's page, with the parameters that the visitor arrived with."""
    if request.method not in ("GET", "HEAD"):
        return Response(status_code=405, headers={"Allow": "GET, HEAD"})
    if request.url.path == "/favicon.ico":
        return Response(status_code=204)
    name, claim, action = SITES[host]
    page = _PAGE.format(name=name, claim=claim, action=action, brought=_brought(request.url.query))
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"Cache-Control": "no-store", "Content-Security-Policy": policy})


def _brought(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)[:MAX_SHOWN]
    if not pairs:
        return "<p>Nothing: this is a direct visit.</p>"
    rows = "".join(
        f"<tr><th>{escape(name[:MAX_SHOWN_LENGTH])}</th><td>{escape(value[:MAX_SHOWN_LENGTH])}</td></tr>"
        for name, value in pairs
    )
    return f"<table>{rows}</table>"
