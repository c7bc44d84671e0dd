"""Where a run's ports are reached: by this machine, by people, and whether they answer."""

from __future__ import annotations

import asyncio
import http.client
import socket


def local_url(host: str, listening: socket.socket) -> str:
    """The address at which this machine reaches a listening socket."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{listening.getsockname()[1]}"


def public_url(host: str, listening: socket.socket) -> str:
    """The address for links, where nobody set one: `localhost`, or the name or address that --host gives."""
    if host in ("", "0.0.0.0", "::", "127.0.0.1", "::1"):
        host = "localhost"
    return local_url(host, listening)


async def until_healthy(url: str) -> None:
    """Wait until `url` says that it is ready."""
    while not await asyncio.to_thread(_is_healthy, url):  # noqa: ASYNC110 (another process; nothing to wait on)
        await asyncio.sleep(0.05)


def _is_healthy(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
