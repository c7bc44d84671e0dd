"""`/linker.js` for the sites' pages: linker.js, with the program's hosts, window and privacy settings in it.

It is served at two addresses: `/linker.<hash>.js`, which never changes and may be kept for a year, and the short
`/linker.js`, which a browser asks for again after five minutes. docs/linker.md is the sites' manual.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.program import Program

PATH = "/linker.js"
HASHED = re.compile(r"/linker\.[0-9a-f]{16}\.js")
MAX_GZIPPED_BYTES = 4096
ALIAS_SECONDS = 300
YEAR_SECONDS = 31_536_000

_INDENT_AND_REMARKS = re.compile(r"^[ ]*(?://.*)?\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Linker:
    """The script as a program's sites get it."""

    script: bytes
    gzipped: bytes

    @classmethod
    def of(cls, program: Program) -> Linker:
        source = files("tracker").joinpath("linker.js").read_text(encoding="utf-8")
        script = _INDENT_AND_REMARKS.sub("", source).replace("PROGRAM", _shown(program), 1).encode()
        return cls(script, gzip.compress(script, 9, mtime=0))

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.script).hexdigest()[:16]

    @property
    def path(self) -> str:
        """The address that always means this very script."""
        return f"/linker.{self.hash}.js"

    @property
    def integrity(self) -> str:
        """For a script tag (Subresource Integrity)."""
        return f"sha384-{base64.b64encode(hashlib.sha384(self.script).digest()).decode()}"

    def tag(self, tracker_url: str) -> str:
        """The tag for pages that pin the script."""
        return (
            f'<script defer src="{tracker_url}{self.path}"\n'
            f'        integrity="{self.integrity}" crossorigin="anonymous"></script>'
        )


class LinkerScript:
    """The handler of both addresses."""

    def __init__(self, program: Program) -> None:
        self._linker = Linker.of(program)

    def routes(self) -> list[Route]:
        return [Route(path, self.respond, methods=["GET"]) for path in (PATH, "/linker.{hash}.js")]

    async def respond(self, request: Request) -> Response:
        """The script. An address of another version gives this one, for a short time: a page is not left without."""
        linker = self._linker
        is_pinned = request.url.path == linker.path
        etag = f'"{linker.hash}"'
        headers = {
            "Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"
            if is_pinned
            else f"public, max-age={ALIAS_SECONDS}",
            "ETag": etag,
            "Vary": "Accept-Encoding",
            # Any page may read it: that is what `integrity` needs, and there is nothing of anybody's in it.
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
        }
        if etag in re.split(r",\s*|W/", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        body = linker.script
        if "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = linker.gzipped, "gzip"
        return Response(body, headers=headers, media_type="text/javascript")


def is_linker(path: str) -> bool:
    """Whether a path is one of the script's, and no short link."""
    return path == PATH or HASHED.fullmatch(path) is not None


def _shown(program: Program) -> str:
    """What the script knows of a program, as JavaScript."""
    hosts = program.hosts | {host.removesuffix(":80").removesuffix(":443") for host in program.hosts}
    known = {
        "hosts": sorted(hosts),
        "seconds": program.window_ms // 1000,
        "gpc": program.honor_gpc,
        "dnt": program.honor_dnt,
    }
    return json.dumps(known, separators=(",", ":")).replace("<", "\\u003c")
