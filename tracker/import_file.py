"""`lasttouch import`: sends a file of events (NDJSON) to a running tracker, in chunks, and tells how it went.

Every event's id makes it idempotent, so an import that broke off is simply run again.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tracker.errors import LasttouchError

CHUNK_BYTES = 4 * 1024 * 1024
CHUNK_LINES = 5_000
LONGEST_LINE_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 120.0
GIVE_UP_AFTER_SECONDS = 120.0  # of no answer to one chunk
LONGEST_PAUSE_SECONDS = 10.0


class ImportFailed(LasttouchError):
    """The import broke off. The message is the line that the operator reads."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of the file. `first_line` is the number of the first, from 1."""

    first_line: int
    lines: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line that was not taken: its number in the file, from 1, and why."""

    line: int
    errors: tuple[dict[str, str], ...]

    def __str__(self) -> str:
        reasons = "; ".join(
            ": ".join(filter(None, (error.get("field"), error.get("message")))) for error in self.errors
        )
        return f"line {self.line}: {reasons}"


@dataclass(slots=True)
class Outcome:
    """How far an import has come."""

    bytes_read: int = 0
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Tracker:
    """The import call of one tracker, over one connection."""

    url: str
    token: str
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def load(self, chunk: Chunk) -> dict[str, Any]:
        """The tracker's answer to a chunk. Tries again while it is away or busy; raises ImportFailed in the end."""
        deadline = self.now() + GIVE_UP_AFTER_SECONDS
        pause = 0.5
        while True:
            try:
                status, retry_after, body = self._request(
                    "POST", "/v1/import", chunk.body, {"Content-Type": "application/x-ndjson"}
                )
            except (OSError, http.client.HTTPException) as error:
                problem, retry_after = f"no answer from {self.url} ({error or type(error).__name__})", None
            else:
                if status == 200:
                    answer: dict[str, Any] = json.loads(body)
                    return answer
                problem = f"{self.url} answers {status}: {_detail(body)}"
                if status not in (429, 502, 503, 504):
                    raise ImportFailed(problem)
            if self.now() > deadline:
                raise ImportFailed(
                    f"{problem}; gave up after {GIVE_UP_AFTER_SECONDS:.0f} s. Run the import again later"
                )
            self.pause(min(LONGEST_PAUSE_SECONDS, retry_after or pause))
            pause *= 2

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, float | None, bytes]:
        """Status, Retry-After in seconds, and body."""
        if self._connection is None:
            self._connection = _connect(self.url)
        path = urlsplit(self.url).path.rstrip("/") + path
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self._connection.close()
            self._connection = None
            raise
        after = answer.headers.get("Retry-After", "")
        return answer.status, float(after) if after.isdigit() else None, content

    def pipeline(self) -> dict[str, Any]:
        """How far accepted facts have come (`GET /v1/pipeline`). Raises ImportFailed where it cannot be read."""
        try:
            status, _, body = self._request("GET", "/v1/pipeline", None, {})
        except (OSError, http.client.HTTPException) as error:
            raise ImportFailed(f"no answer from {self.url} ({error or type(error).__name__})") from None
        if status != 200:
            raise ImportFailed(f"{self.url} answers {status}: {_detail(body)}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def load_events(
    source: BinaryIO, tracker: Tracker, on_progress: Callable[[Outcome], None], on_rejected: Callable[[Rejected], None]
) -> Outcome:
    """Send all of `source`. `on_rejected` is called for each bad line, in the file's order."""
    outcome = Outcome()
    for chunk, too_long in chunks(source):
        answer: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
        if chunk.lines:
            answer = tracker.load(chunk)
        rejected = [
            Rejected(chunk.first_line + int(item["line"]) - 1, tuple(item["errors"])) for item in answer["rejected"]
        ]
        for item in (*rejected, *too_long):
            on_rejected(item)
        outcome.bytes_read = source_position(source, outcome.bytes_read + len(chunk.body))
        outcome.lines += chunk.lines + len(too_long)
        outcome.accepted += int(answer["accepted"])
        outcome.duplicates += int(answer["duplicates"])
        outcome.rejected += len(rejected) + len(too_long)
        on_progress(outcome)
    return outcome


def chunks(source: BinaryIO) -> Iterator[tuple[Chunk, tuple[Rejected, ...]]]:
    """The file in chunks of whole lines, and behind each chunk the line that was too long to send, if any."""
    line_number = 1
    first_line, lines, size = 1, list[bytes](), 0
    while line := source.readline(LONGEST_LINE_BYTES + 1):
        too_long = len(line) > LONGEST_LINE_BYTES
        if not too_long:
            lines.append(line)
            size += len(line)
        if too_long or size >= CHUNK_BYTES or len(lines) >= CHUNK_LINES:
            refused = (_too_long(line_number),) if too_long else ()
            yield Chunk(first_line, len(lines), b"".join(lines)), refused
            first_line, lines, size = line_number + 1, [], 0
        while too_long and line and not line.endswith(b"\n"):
            line = source.readline(LONGEST_LINE_BYTES)
        line_number += 1
    if lines:
        yield Chunk(first_line, len(lines), b"".join(lines)), ()


def source_position(source: BinaryIO, otherwise: int) -> int:
    """How many bytes of `source` are read; `otherwise` where it cannot tell (a pipe)."""
    try:
        return source.tell()
    except OSError:
        return otherwise


def _too_long(line: int) -> Rejected:
    return Rejected(line, ({"field": "", "message": f"is longer than {LONGEST_LINE_BYTES // 1024} KiB"},))


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
