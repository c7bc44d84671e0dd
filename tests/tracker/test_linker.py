"""The script for the sites' pages, as it is served: its size, its two addresses, and what browsers may keep of it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette

from tracker.linker import MAX_GZIPPED_BYTES, Linker, LinkerScript, is_linker
from tracker.program import Product, Program

PROGRAM = Program()
LINKER = Linker.of(PROGRAM)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


def ask(path: str, method: str = "GET", **headers: str) -> Answer:
    """What the script's handler answers. `headers` are named with underscores."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": pairs, "root_path": ""}
    asyncio.run(Starlette(routes=LinkerScript(PROGRAM).routes())(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


def test_it_is_small() -> None:
    assert len(LINKER.gzipped) <= MAX_GZIPPED_BYTES == 4096
    assert gzip.decompress(LINKER.gzipped) == LINKER.script


def test_the_program_is_in_it() -> None:
    named = {"hosts": ["livechat.com", "partners.livechat.com", "www.livechat.com"], "seconds": 10_368_000}
    known = json.dumps({**named, "gpc": True, "dnt": True}, separators=(",", ":"))
    assert f"const program = {known};" in LINKER.script.decode()
    assert LINKER.script.isascii()


def test_remarks_and_indents_are_left_out_and_no_code() -> None:
    lines = LINKER.script.decode().splitlines()
    assert not [line for line in lines if not line or line.startswith(("//", " "))]
    assert lines[0] == "((run) => {" and lines[-1] == "});"


def test_a_host_can_neither_end_the_script_nor_lack_its_usual_port() -> None:
    products = {"x": Product("x", "X", "https://x.example:443/", frozenset({"x.example:443", "</script>"}))}
    script = Linker.of(Program(products=products)).script.decode()
    assert '"x.example","x.example:443"' in script
    assert "</script>" not in script


def test_the_hash_is_that_of_the_program_too() -> None:
    other = Linker.of(Program(window_days=30))
    assert (other.hash, other.integrity) != (LINKER.hash, LINKER.integrity)
    assert Linker.of(Program()).path == LINKER.path


def test_the_pinned_address_is_kept_for_a_year() -> None:
    answer = ask(LINKER.path)
    assert (answer.status, answer.content) == (200, LINKER.script)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    digest = base64.b64encode(hashlib.sha384(answer.content).digest()).decode()
    assert f'integrity="sha384-{digest}"' in LINKER.tag("https://go.example")
    assert f'src="https://go.example{LINKER.path}"' in LINKER.tag("https://go.example")


@pytest.mark.parametrize("path", ["/linker.js", "/linker.0123456789abcdef.js"])
def test_other_addresses_give_the_newest_for_minutes(path: str) -> None:
    answer = ask(path)
    assert (answer.status, answer.content) == (200, LINKER.script)
    assert answer.headers["cache-control"] == "public, max-age=300"
    for known in (answer.headers["etag"], f"W/{answer.headers['etag']}", f'"x", {answer.headers["etag"]}'):
        again = ask(path, If_None_Match=known)
        assert (again.status, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert ask(path, If_None_Match='"x"').status == 200


def test_it_is_compressed_for_who_takes_that() -> None:
    answer = ask("/linker.js", Accept_Encoding="gzip, br")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(LINKER.gzipped)
    assert (gzip.decompress(answer.content), answer.headers["vary"]) == (LINKER.script, "Accept-Encoding")


def test_a_browser_may_ask_for_the_head_alone() -> None:
    assert ask("/linker.js", "HEAD").status == 200
    assert ask("/linker.js", "POST").status == 405


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("/linker.js", True),
        (LINKER.path, True),
        ("/linker.0123456789abcdef.js", True),
        ("/linker", False),
        ("/linker.js.map", False),
        ("/linker.0123456789ABCDEF.js", False),
        ("/a/linker.js", False),
    ],
)
def test_which_paths_are_no_links(path: str, is_ours: bool) -> None:
    assert is_linker(path) is is_ours
