"""Where clicks wait on disk while Redis does not take them.

A process appends to a segment of its own (spool_segment.py) and holds a lock on it; when the process ends, however it
ends, the lock is gone, and whoever delivers next may claim the segment.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tracker.click_line import ClickLine
from tracker.spool_records import records_of
from tracker.spool_segment import Segment, waiting_clicks

# What a machine gives to waiting clicks: about two million of them.
SPOOL_BYTES = 1 << 30
# A segment is delivered, and its room given back, as a whole.
SEGMENT_BYTES = 8 << 20
# A spool with less room than this is as good as full: about what a record takes.
SPARE_BYTES = 256 << 10
log = logging.getLogger(__name__)


class SpoolFull(OSError):
    """The spool holds as much as it may."""


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
        records = records_of(lines)
        with self._lock:
            try:
                if self.size_bytes() + len(records) > self.limit_bytes:
                    raise SpoolFull(f"the spool {self.folder} holds its {self.limit_bytes} bytes")
                self._write(records)
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

    def _write(self, records: bytes) -> None:
        """Write and sync to the open segment, or to a new one where there is none or it is full."""
        if self._file is None or self._file.tell() >= self._segment_bytes:
            self._rotate()
            self._file, self._path = self._new_segment()
        good = self._file.tell()
        try:
            _write_all(self._file, records)
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
    return sum(waiting_clicks(path) for path in _segments(folder))


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
