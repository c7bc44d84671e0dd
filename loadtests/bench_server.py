"""One server of a benchmark, pinned to a core: `python -m loadtests.bench_server KIND CORE FD [DATA REDIS_URL]`.

KIND is `empty` (uvicorn answering an empty 302), `ordinary` (our redirect without its fast lane) or `lane` (as it is
served).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tracker.app import create_app
from tracker.fast_protocol import FastProtocol
from tracker.program import load_program
from tracker.serving import serve_app
from tracker.settings import read_settings

Message = MutableMapping[str, Any]
LOCATION = b"https://www.livechat.com/"


async def empty_app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The least that an ASGI app can do: an empty 302."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers = [(b"location", LOCATION), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def main(kind: str, core: str, listen_fd: str, data: str = "", redis_url: str = "") -> None:
    os.sched_setaffinity(0, {int(core)})
    listening = socket.socket(fileno=int(listen_fd))
    if kind == "empty":
        serve_app(empty_app, listening)
        return
    settings = read_settings({"LASTTOUCH_REDIS_URL": redis_url, "LASTTOUCH_ADMIN_TOKEN": "bench"}, data=data)
    serve_app(
        create_app(settings, load_program(None), kind), listening, protocol=FastProtocol if kind == "lane" else None
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
