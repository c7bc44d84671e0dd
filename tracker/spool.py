"""Where clicks wait on disk while Redis does not take them.

A process appends to a segment of its own and holds a lock on it; when the process ends, however it ends, the lock is
gone, and whoever delivers next may claim the segment. A segment is a row of records, each a batch of clicks:

    payload bytes (4) · CRC-32 (4) · clicks (4) · delivered (1) · payload: JSON {"columns": […], "lines": [[…], …]}

A record that a crash cut off was never acknowledged to anybody. It is passed over, and so is one that was damaged on
the disk: the records after it are found by how their payload begins. Bytes that cannot be read are kept beside the
segment as `….torn`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tracker.click_line import ClickLine
from tracker.events import CLICK_COLUMNS

# What a machine gives to waiting clicks: about two million of them.
SPOOL_BYTES = 1 << 30
# A segment is delivered, and its room given back, as a whole.
SEGMENT_BYTES = 8 << 20
RECORD_CLICKS = 500
# A spool with less room than this is as good as full: about what such a record takes.
SPARE_BYTES = 256 << 10
# No record is longer; a header that says otherwise is broken.
MAX_RECORD_BYTES = 16 << 20
# A segment that was not changed for so long is counted once. Clocks of file systems are too coarse for less.
STEADY_SECONDS = 1.0
# What is looked through at once for the next record after a damaged one.
SEARCH_BYTES = 1 << 20

_HEADER = struct.Struct(">IIIB")
_DELIVERED_AT = _HEADER.size - 1
# The checksum does not cover this mark, so it is one that no single flipped bit makes.
_DELIVERED = 0xB6
_PAYLOAD_START = b'{"columns":'
log = logging.getLogger(__name__)


class SpoolFull(OSError):
    """The spool holds as much as it may."""


@dataclass(frozen=True, slots=True)
class Record:
    """A batch of clicks in a segment. `offset` is where its header begins."""

    offset: int
    lines: list[ClickLine]


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as it is on disk, and its mark."""

    delivered: int
    payload: bytes


class Segment:
    """A claimed segment: nobody else writes or delivers it until it is released. Its methods raise OSError."""

    def __init__(self, path: Path, file: BinaryIO, unmarked: dict[Path, set[int]]) -> None:
        self.path = path
        self._file = file
        self._offset = 0
        self._unreadable: list[tuple[int, int]] = []
        self._unmarked = unmarked

    def next_records(self) -> list[Record]:
        """The next records that were not delivered yet, until they hold RECORD_CLICKS clicks; none at the end."""
        records: list[Record] = []
        clicks = 0
        while clicks < RECORD_CLICKS and (record := self._next_record()) is not None:
            records.append(record)
            clicks += len(record.lines)
        return records

    def mark_delivered(self, records: Sequence[Record]) -> None:
        """Remember that records reached Redis, so that they are neither counted nor sent again.

        Where the disk takes no marks any more, this process remembers; after a restart they are sent again, which is
        harmless.
        """
        offsets = [record.offset for record in records]
        try:
            for offset in offsets:
                os.pwrite(self._file.fileno(), bytes([_DELIVERED]), offset + _DELIVERED_AT)
        except OSError as error:
            log.error("%s: delivered records cannot be marked: %s", self.path, error)
            self._unmarked.setdefault(self.path, set()).update(offsets)

    def remove(self) -> None:
        """Give the room back, after every record was delivered. What could not be read is kept as `….torn`."""
        size = os.fstat(self._file.fileno()).st_size
        pieces = [*self._unreadable, (self._offset, size)]
        if rest := b"".join(os.pread(self._file.fileno(), end - begin, begin) for begin, end in pieces):
            torn = self.path.with_suffix(".torn")
            torn.write_bytes(rest)
            log.error("%s: %d bytes, cut off or damaged, are kept as %s", self.path, len(rest), torn)
        self.path.unlink(missing_ok=True)
        self._unmarked.pop(self.path, None)

    def release(self) -> None:
        """Let others claim what is left of it."""
        self._file.close()

    def _next_record(self) -> Record | None:
        """The next record that was not delivered yet. What cannot be read on the way is remembered."""
        while True:
            offset = self._offset
            frame = _read_frame(self._file, offset)
            if frame is None:
                following = self._find_frame(offset + 1)
                if following is None:
                    return None
                self._unreadable.append((offset, following))
                self._offset = following
                continue
            self._offset = offset + _HEADER.size + len(frame.payload)
            if frame.delivered == _DELIVERED or offset in self._unmarked.get(self.path, ()):
                continue
            try:
                return Record(offset, lines_of(frame.payload))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s: the record at byte %d cannot be understood: %r", self.path, offset, error)
                self._unreadable.append((offset, self._offset))

    def _find_frame(self, start: int) -> int | None:
        """Where the first whole record at or after `start` begins."""
        at = start
        while len(piece := os.pread(self._file.fileno(), SEARCH_BYTES, at)) >= len(_PAYLOAD_START):
            found = piece.find(_PAYLOAD_START)
            if found < 0:
                at += len(piece) - len(_PAYLOAD_START) + 1
                continue
            candidate = at + found - _HEADER.size
            if candidate >= start and _read_frame(self._file, candidate) is not None:
                return candidate
            at += found + 1
        return None


class Spool:
    """A process's side of the spool folder. Its calls block on the disk: run them in a thread."""

    def __init__(self, folder: Path, limit_bytes: int = SPOOL_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._file: BinaryIO | None = None
        self._has_failed = False
        self._path = folder
        # Records that reached Redis but could not be marked, by segment: where they begin.
        self._unmarked: dict[Path, set[int]] = {}
        # Appending and rotating come from different threads.
        self._lock = threading.Lock()

    def append(self, lines: Sequence[ClickLine]) -> None:
        """Keep clicks, on disk when this returns. Raises OSError (SpoolFull when there is no room)."""
        frames = b"".join(_frame(lines[at : at + RECORD_CLICKS]) for at in range(0, len(lines), RECORD_CLICKS))
        with self._lock:
            try:
                if self.size_bytes() + len(frames) > self.limit_bytes:
                    raise SpoolFull(f"the spool {self.folder} holds its {self.limit_bytes} bytes")
                self._write(frames)
                if not self._is_in_place():
                    self._move()
            except OSError:
                self._has_failed = True
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

    def claim(self, besides: Collection[Path] = ()) -> Segment | None:
        """The oldest segment that nobody writes or delivers, now ours; None when there is none but those `besides`."""
        for path in _segments(self.folder):
            if path in besides:
                continue
            try:
                file = _opened(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.error("%s cannot be delivered: %s", path, error)
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    return Segment(path, file, self._unmarked)
            except (BlockingIOError, FileNotFoundError):
                pass
            file.close()
        return None

    def size_bytes(self) -> int:
        """How much room the whole folder takes, other processes' segments included."""
        return folder_bytes(self.folder)

    def torn_bytes(self) -> int:
        """How many bytes could not be read and were set aside."""
        return folder_bytes(self.folder, ".torn")

    def _write(self, frames: bytes) -> None:
        """Write and sync to the open segment, or to a new one where there is none or it is full."""
        if self._file is None or self._file.tell() >= self._segment_bytes:
            self._rotate()
            self._file, self._path = self._new_segment()
        good = self._file.tell()
        try:
            _write_all(self._file, frames)
            os.fsync(self._file.fileno())
        except OSError:
            # What was half written would hide all that came after it.
            self._abandon(good)
            raise

    def _is_in_place(self) -> bool:
        """Whether the open segment is where it would be delivered from: somebody may have removed the folder."""
        assert self._file is not None
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _move(self) -> None:
        """Write all that the open segment holds to a new one, for this one is not where it was."""
        assert self._file is not None
        log.error("%s was removed while it was written; what it held is written anew", self._path)
        with self._file as removed:
            self._file = None
            self._write(os.pread(removed.fileno(), os.fstat(removed.fileno()).st_size, 0))

    def _new_segment(self) -> tuple[BinaryIO, Path]:
        """A new, locked segment. It gets its name when it is locked: nobody can claim it in between."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"clicks-{os.getpid()}-{secrets.token_hex(8)}.spool"
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
            unnamed.unlink(missing_ok=True)
            file.close()
            raise
        return file, path

    def _abandon(self, good: int) -> None:
        """Close the open segment at its last good byte; an empty one takes no room, but there may be many."""
        file, self._file = self._file, None
        if file is not None:
            try:
                if good == 0:
                    self._path.unlink(missing_ok=True)
                else:
                    os.ftruncate(file.fileno(), good)
                file.close()
            except OSError as error:
                log.error("a spool segment could not be mended: %s", error)

    def _rotate(self) -> None:
        if self._file is not None:
            if not self._is_in_place():
                self._move()
            self._file.close()
            self._file = None


def folder_bytes(folder: Path, suffix: str = "") -> int:
    """How much room a spool folder's files take, whoever wrote them; those whose names end in `suffix`."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):
                        total += entry.stat().st_size
    except FileNotFoundError:
        pass
    return total


def spooled_count(folder: Path) -> int:
    """How many clicks wait undelivered in a spool folder, whoever wrote them. It blocks on the disk: run it in a
    thread."""
    return sum(_undelivered(path) for path in _segments(folder))


def _undelivered(path: Path) -> int:
    try:
        state = path.stat()
        if time.time() - state.st_mtime > STEADY_SECONDS:
            return _remembered_count(path, state.st_ino, state.st_size, state.st_mtime_ns)
        return _count(path)
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.error("%s cannot be read: %s", path, error)
        return 0


@lru_cache(maxsize=1024)
def _remembered_count(path: Path, inode: int, size: int, modified_ns: int) -> int:
    """The count of a segment that has not changed for a while, by all that would show a change."""
    return _count(path)


def _count(path: Path) -> int:
    """How many clicks of a segment are not delivered, by its headers alone."""
    data = path.read_bytes()
    total, offset = 0, 0
    while offset + _HEADER.size <= len(data):
        length, _, clicks, delivered = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size + length
        if not 0 < length <= MAX_RECORD_BYTES or offset > len(data):
            break
        total += 0 if delivered == _DELIVERED else clicks
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


def _opened(path: Path) -> BinaryIO:
    """A segment to deliver; from a disk that has become read-only too, for that one may be about to fail."""
    try:
        return path.open("r+b")
    except FileNotFoundError:
        raise
    except OSError:
        return path.open("rb")


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _frame(lines: Sequence[ClickLine]) -> bytes:
    # Not whether it was a visitor's first click: when it is delivered, a second may have come before it.
    document = {"columns": CLICK_COLUMNS, "lines": [line[:4] for line in lines]}
    payload = json.dumps(document, separators=(",", ":")).encode()
    return _HEADER.pack(len(payload), zlib.crc32(payload, len(lines)), len(lines), 0) + payload


def _read_frame(file: BinaryIO, offset: int) -> Frame | None:
    """The frame at an offset; None where there is no whole one that its checksum is right for."""
    header = os.pread(file.fileno(), _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return None
    length, crc, clicks, delivered = _HEADER.unpack(header)
    if not 0 < length <= MAX_RECORD_BYTES:
        return None
    payload = os.pread(file.fileno(), length, offset + _HEADER.size)
    is_whole = len(payload) == length and zlib.crc32(payload, clicks) == crc
    return Frame(delivered, payload) if is_whole else None


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
