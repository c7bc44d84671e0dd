"""Small sites of a program for a real browser, on hosts of their own: `*.localhost` is this machine to Chromium.

Every page has linker.js in it under a strict Content-Security-Policy. What arrives at a site is remembered, so that a
test sees a visitor as the site's server does.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import uvicorn
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

HOSTS = {"livechat": "livechat.localhost", "partners": "partners.localhost", "foreign": "elsewhere.localhost"}

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{site} {path}</title>{script}
<a id="same" href="/same?x=1#part">same site</a> <a id="anchor" href="#part">anchor</a>
<a id="link" href="{partners}/next?x=%20y&amp;z#part">partners</a>
<a id="blank" href="{partners}/next" target="_blank" rel="noopener">new tab</a>
<a id="noreferrer" href="{partners}/next" rel="noreferrer">no referrer</a>
<a id="back" href="{livechat}/back">livechat</a>
<a id="foreign" href="{foreign}/next?x=1">elsewhere</a> <a id="mail" href="mailto:a@b.example">mail</a>
<a id="affiliate" href="{partners}/next?a=Somebody">an affiliate link</a>
<form id="get" action="{partners}/form?gone=1"><input name="q" value="1"><button id="get-button">go</button></form>
<form id="post" method="post" action="{partners}/form?kept=1"><input name="q" value="1"><button>go</button>
<button id="elsewhere-button" formaction="{foreign}/form">elsewhere</button></form>
<form id="signup" method="post" action="/signup"><input name="lt_visitor" type="hidden"><input name="lt_partner"
 type="hidden"><button id="signup-button">sign up</button></form>{more}"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that a site got."""

    site: str
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    referrer: str


@dataclass
class ProgramSites:
    """The sites' server. `pages` are what tests add to the page of a path; `scripts` is how pages load linker.js."""

    port: int
    tracker_url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    keep: Callable[[Mapping[str, str], Mapping[str, str]], list[str]] | None = None
    """What the sites' server keeps of a landing: from query and cookies to `Set-Cookie` headers."""

    def url(self, site: str, path: str = "/", **query: str) -> str:
        return f"http://{HOSTS[site]}:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def write_program(self, folder: Path) -> Path:
        path = folder / "program.toml"
        lines = []
        for product, site in (("livechat", "livechat"), ("partner_program", "partners")):
            lines += [f"[products.{product}]", f'name = "{site}"', f'url = "{self.url(site)}"']
        path.write_text("\n".join(lines))
        return path

    def arrived(self, path: str) -> list[Arrival]:
        return [one for one in self.arrivals if one.path == path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("these sites speak HTTP")
        request = Request(scope, receive)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path == "/favicon.ico":
            return Response(status_code=404)
        host = request.url.hostname or ""
        (site,) = [name for name, known in HOSTS.items() if known == host]
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        referrer = request.headers.get("referer", "")
        query = dict(parse_qsl(request.url.query, keep_blank_values=True))
        self.arrivals.append(Arrival(site, request.method, path, query, form, referrer))
        extra = next((text for start, text in self.attributes.items() if path.startswith(start)), "")
        names = {name: self.url(name).rstrip("/") for name in HOSTS}
        script = f'<script defer src="{self.tracker_url}/linker.js"{extra}></script>'
        page = PAGE.format(site=site, path=path, script=script, more=self.pages.get(path, ""), **names)
        policy = f"default-src 'none'; script-src {self.tracker_url}; connect-src {self.tracker_url}; base-uri 'none'"
        response = HTMLResponse(page, headers={"Content-Security-Policy": policy})
        for cookie in self.keep(query, request.cookies) if self.keep else ():
            response.headers.append("Set-Cookie", cookie)
        return response


@contextmanager
def program_sites() -> Iterator[ProgramSites]:
    """The sites on a free port, in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    sites = ProgramSites(listening.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(sites, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the sites did not start"
        time.sleep(0.01)
    try:
        yield sites
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
