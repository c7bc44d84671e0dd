"""Where clicks wait on disk while Redis does not take them.

A process appends to a segment of its own and holds a lock on it; when the process ends, however it ends, the lock is
gone, and whoever delivers next may claim the segment. A segment is a row of records, each a batch of clicks:

    payload bytes (4) · CRC-32 (4) · clicks (4) · delivered (1) · payload: JSON {"columns": […], "lines": [[…], …]}

A record that a crash cut off was never acknowledged to anybody: reading ends before it. Bytes that cannot be read are
kept beside the segment as `….torn`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from tracker.click_line import ClickLine
from tracker.events import CLICK_COLUMNS

# What a machine gives to waiting clicks: about three million of them.
SPOOL_BYTES = 1 << 30
# A segment is delivered, and its room given back, as a whole.
SEGMENT_BYTES = 8 << 20
RECORD_CLICKS = 500
# A spool with less room than this is as good as full: about what such a record takes.
SPARE_BYTES = 256 << 10
# No record is longer; a header that says otherwise is broken.
MAX_RECORD_BYTES = 16 << 20

_HEADER = struct.Struct(">IIIB")
_DELIVERED_AT = _HEADER.size - 1
log = logging.getLogger(__name__)


class SpoolFull(OSError):
    """The spool holds as much as it may."""


@dataclass(frozen=True, slots=True)
class Record:
    """A batch of clicks in a segment. `offset` is where its header begins."""

    offset: int
    lines: list[ClickLine]


class Segment:
    """A claimed segment: nobody else writes or delivers it until it is released."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._offset = 0

    def next_record(self) -> Record | None:
        """The next record that was not delivered yet; None at the end, and before the first that cannot be read."""
        while (frame := _read_frame(self._file, self._offset)) is not None:
            offset, (header, payload) = self._offset, frame
            length, crc, clicks, delivered = header
            if zlib.crc32(payload, clicks) != crc:
                return None
            try:
                record = None if delivered else Record(offset, lines_of(payload))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s: the record at byte %d cannot be understood: %r", self.path, offset, error)
                return None
            self._offset = offset + _HEADER.size + length
            if record is not None:
                return record
        return None

    def mark_delivered(self, record: Record) -> None:
        """Remember that a record reached Redis, so that it is neither counted nor sent again."""
        os.pwrite(self._file.fileno(), b"\x01", record.offset + _DELIVERED_AT)

    def remove(self) -> None:
        """Give the room back, after every record was delivered. What could not be read is kept as `….torn`."""
        self._file.seek(self._offset)
        if rest := self._file.read():
            torn = self.path.with_suffix(".torn")
            torn.write_bytes(rest)
            log.warning("%s: its last %d bytes, cut off or damaged, are kept as %s", self.path, len(rest), torn)
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let others claim what is left of it."""
        self._file.close()


class Spool:
    """A process's side of the spool folder. Its calls block on the disk: run them in a thread."""

    def __init__(self, folder: Path, limit_bytes: int = SPOOL_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._file: BinaryIO | None = None
        self._has_failed = False
        self._numbers = count(1)
        # Appending and rotating come from different threads.
        self._lock = threading.Lock()

    def append(self, lines: Sequence[ClickLine]) -> None:
        """Keep clicks, on disk when this returns. Raises OSError (SpoolFull when there is no room)."""
        frames = b"".join(_frame(lines[at : at + RECORD_CLICKS]) for at in range(0, len(lines), RECORD_CLICKS))
        with self._lock:
            self._has_failed = True  # until it has not
            if self.size_bytes() + len(frames) > self.limit_bytes:
                raise SpoolFull(f"the spool {self.folder} holds its {self.limit_bytes} bytes")
            if self._file is None or self._file.tell() >= self._segment_bytes:
                self._rotate()
                self._file = self._new_segment()
            good = self._file.tell()
            try:
                _write_all(self._file, frames)
                os.fsync(self._file.fileno())
            except OSError:
                # What was half written would hide all that came after it.
                self._abandon(good)
                raise
            self._has_failed = False

    @property
    def is_full(self) -> bool:
        """Whether there is hardly any room left, or the disk refused the last clicks."""
        return self._has_failed or self.size_bytes() + SPARE_BYTES > self.limit_bytes

    def rotate(self) -> None:
        """Finish the segment that is being written, so that it can be claimed."""
        with self._lock:
            self._has_failed = False  # what is written next may fare better
            self._rotate()

    def claim(self) -> Segment | None:
        """The oldest segment that nobody writes or delivers, now ours; None when there is none."""
        for path in _segments(self.folder):
            try:
                file = path.open("r+b")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    return Segment(path, file)
            except (BlockingIOError, FileNotFoundError):
                pass
            file.close()
        return None

    def size_bytes(self) -> int:
        """How much room the whole folder takes, other processes' segments included."""
        return folder_bytes(self.folder)

    def _new_segment(self) -> BinaryIO:
        """A new, locked segment. It gets its name when it is locked: nobody can claim it in between."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self.folder / f"clicks-{os.getpid()}-{next(self._numbers):06d}.spool"
            if not path.exists():
                break
        unnamed = path.with_suffix(".new")
        # Unbuffered, so that a failed write leaves nothing behind that closing would try to write again.
        file = unnamed.open("w+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            unnamed.rename(path)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            file.close()
            raise
        return file

    def _abandon(self, good: int) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                os.ftruncate(file.fileno(), good)
                file.close()
            except OSError as error:
                log.error("a spool segment could not be mended: %s", error)

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def folder_bytes(folder: Path) -> int:
    """How much room a spool folder takes, whoever wrote what is in it."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                total += entry.stat().st_size
    except FileNotFoundError:
        pass
    return total


def spooled_count(folder: Path) -> int:
    """How many clicks wait undelivered in a spool folder, whoever wrote them."""
    return sum(_undelivered(path) for path in _segments(folder))


def _undelivered(path: Path) -> int:
    total, offset = 0, 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while len(header := os.pread(file.fileno(), _HEADER.size, offset)) == _HEADER.size:
                length, _, clicks, delivered = _HEADER.unpack(header)
                offset += _HEADER.size + length
                if length == 0 or offset > size:
                    break
                total += 0 if delivered else clicks
    except FileNotFoundError:
        pass
    return total


def _segments(folder: Path) -> list[Path]:
    """All segments, the longest waiting first."""
    found = []
    for path in folder.glob("clicks-*.spool"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(found)]


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _frame(lines: Sequence[ClickLine]) -> bytes:
    # Not whether it was a visitor's first click: when it is delivered, a second may have come before it.
    document = {"columns": CLICK_COLUMNS, "lines": [line[:4] for line in lines]}
    payload = json.dumps(document, separators=(",", ":")).encode()
    return _HEADER.pack(len(payload), zlib.crc32(payload, len(lines)), len(lines), 0) + payload


def _read_frame(file: BinaryIO, offset: int) -> tuple[tuple[int, int, int, int], bytes] | None:
    header = os.pread(file.fileno(), _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return None
    length, crc, clicks, delivered = _HEADER.unpack(header)
    if not 0 < length <= MAX_RECORD_BYTES:
        return None
    payload = os.pread(file.fileno(), length, offset + _HEADER.size)
    return ((length, crc, clicks, delivered), payload) if len(payload) == length else None


def lines_of(payload: bytes) -> list[ClickLine]:
    """The clicks of a payload, with the columns of this version: a newer or an older one may have written them."""
    document = json.loads(payload)
    lines = [ClickLine(*line) for line in document["lines"]]
    columns = document["columns"]
    if columns == list(CLICK_COLUMNS):
        return lines
    return [line._replace(row=_with_our_columns(line.row, columns)) for line in lines]


def _with_our_columns(row: str, columns: Sequence[str]) -> str:
    """Escaped fields hold no tabs, so that a row can be taken apart and put together without reading them."""
    fields = dict(zip(columns, row.rstrip("\n").split("\t"), strict=True))
    return "\t".join(fields.get(name, "") for name in CLICK_COLUMNS) + "\n"
