"""The directory on disk, so that a tracker starts and redirects while Redis is down.

A machine's workers share one file: an HMAC-SHA-256 of all that follows, with the program's secret; a line of JSON about
the file; then the buckets of links and of partners as memory has them (packed.py), each after a NUL. Whatever is not
exactly that, such as a torn file or another program's, is left alone. When the content was last known to be right is
the file's time of modification.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from tracker.packed import BUCKETS, Packed

FORMAT = "lasttouch directory 1"
# A directory that needs more is not written, and a larger file is not read: about fifteen million links.
MAX_BYTES = 1 << 30
# How often a changed directory is written, at most: a large one less often, so that it wears no disk out.
WRITE_SECONDS = 10.0
WRITE_BYTES_PER_SECOND = 250_000

_DIGEST_DIGITS = 64
_MAX_HEADER_BYTES = 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What a process knows of the directory.

    `position` is the newest entry of the stream of changes that is in it; `right_at_s` is when it was last known to be
    right, in seconds since 1970; `was_complete` whether the directory in Redis was said to be complete (see
    redis_keys.COMPLETE).
    """

    links: Packed
    partners: Packed
    position: str
    right_at_s: float
    was_complete: bool = False


@dataclass(frozen=True, slots=True)
class _Header:
    format: str
    buckets: int
    position: str
    written_at_s: float
    was_complete: bool


class Snapshot:
    """A machine's snapshot file. Calls block on the disk: run them in a thread."""

    def __init__(self, path: Path, secret: bytes, now_s: Callable[[], float] = time.time) -> None:
        self.path = path
        self._secret = secret
        self._now_s = now_s
        self._is_bad = False
        """Whether the file that is there was found not to be trusted; then it is replaced whatever it says."""

    def read(self) -> Known | None:
        """The snapshot. None when there is none and, with one line in the log, when it cannot be trusted."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size > MAX_BYTES:
                    raise ValueError(f"it has {status.st_size} bytes, {MAX_BYTES} are allowed")
                data = file.read()
            digest = hmac.new(self._secret, memoryview(data)[_DIGEST_DIGITS:], "sha256").hexdigest()
            if not hmac.compare_digest(digest.encode(), data[:_DIGEST_DIGITS]):
                raise ValueError("it is damaged, or another program's")
            first, *buckets = data.split(b"\0")
            header = _Header(**json.loads(first[_DIGEST_DIGITS:]))
            if (header.format, header.buckets, len(buckets)) != (FORMAT, BUCKETS, 2 * BUCKETS):
                raise ValueError("it is another version's")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("the directory's snapshot %s is not used: %s", self.path, error)
            self._is_bad = True
            return None
        links, partners = Packed(), Packed()
        links.take(0, buckets[:BUCKETS])
        partners.take(0, buckets[BUCKETS:])
        return Known(links, partners, header.position, status.st_mtime, header.was_complete)

    def write(self, known: Known, is_last: bool = False) -> bool:
        """Write what a process knows, unless the file says the same or is young, or another process is at it. Whether
        it was written. A young file is replaced too by a process that stops. Raises OSError where the disk does not
        take it.

        What changes meanwhile may be in the file or not: who reads it asks for all changes since its position anyway.
        """
        with os.fdopen(os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            now_s = self._now_s()
            if not self._is_bad and (header := self._header()) is not None:
                status = self.path.stat()
                if header.position == known.position:
                    if known.right_at_s > status.st_mtime:
                        os.utime(self.path, (now_s, known.right_at_s))
                    return False
                if not is_last and now_s - header.written_at_s < max(
                    WRITE_SECONDS, status.st_size / WRITE_BYTES_PER_SECOND
                ):
                    return False
            self._replace(known, _Header(FORMAT, BUCKETS, known.position, now_s, known.was_complete))
            self._is_bad = False
            return True

    def _header(self) -> _Header | None:
        """The header of the file that is there; None where there is none that we could have written."""
        try:
            with self.path.open("rb") as file:
                first = file.read(_MAX_HEADER_BYTES).partition(b"\0")[0]
            header = _Header(**json.loads(first[_DIGEST_DIGITS:]))
        except (OSError, ValueError, TypeError):
            return None
        return header if (header.format, header.buckets) == (FORMAT, BUCKETS) else None

    def _replace(self, known: Known, header: _Header) -> None:
        """Write the file whole, or not at all."""
        unfinished = self.path.with_suffix(".new")
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(opened, "wb") as file:
                self._fill(file, known, header)
            os.utime(unfinished, (header.written_at_s, known.right_at_s))
            unfinished.replace(self.path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _fill(self, file: BinaryIO, known: Known, header: _Header) -> None:
        digest = hmac.new(self._secret, digestmod="sha256")
        file.write(b"\n" * _DIGEST_DIGITS)
        pieces = (b"\0" + b"\0".join(piece) for packed in (known.links, known.partners) for _, piece in packed.pieces())
        for piece in chain([json.dumps(asdict(header)).encode()], pieces):
            digest.update(piece)
            file.write(piece)
            if file.tell() > MAX_BYTES:
                raise OSError(f"it would have more than {MAX_BYTES} bytes")
        file.seek(0)
        file.write(digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())
