"""What comes back over HTTP, asked for with the standard library only, one connection a request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP. Headers are looked up without case."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["Location"] or ""

    @property
    def query(self) -> dict[str, str]:
        """The query of where a redirect leads."""
        return dict(parse_qsl(urlsplit(self.location).query, keep_blank_values=True))

    @property
    def said(self) -> str | None:
        """The redirect's verdict."""
        return self.headers["X-Lasttouch"]

    def cookie(self, name: str) -> str | None:
        """The value that a Set-Cookie header gives `name`."""
        for line in self.headers.get_all("Set-Cookie") or []:
            if line.startswith(f"{name}="):
                return str(line.partition("=")[2].partition(";")[0])
        return None


def send(
    port: int,
    method: str,
    target: str,
    body: bytes | str | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = ANSWER_SECONDS,
) -> Answer:
    """One request on a connection of its own. A mapping is sent as JSON. Raises OSError or HTTPException."""
    sent = dict(headers or {})
    if isinstance(body, Mapping):
        body = json.dumps(body)
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, target, body=body.encode() if isinstance(body, str) else body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
