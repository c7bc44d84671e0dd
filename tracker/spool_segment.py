"""A segment of the spool: a row of records (spool_records.py), delivered by whoever has claimed it.

A record that a crash cut off was never acknowledged to anybody. It is passed over, and so is one that was damaged on
the disk: the records after it are found. Bytes that cannot be read are kept beside the segment as `….torn`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tracker.click_line import ClickLine
from tracker.spool_records import (
    RECORD_CLICKS,
    find_record,
    lines_of,
    mark_delivered,
    read_record,
    undelivered_clicks,
)

# A segment that was not changed for so long is counted once. Clocks of file systems are too coarse for less.
STEADY_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A batch of clicks in a segment. `offset` is where its header begins."""

    offset: int
    lines: list[ClickLine]


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
                mark_delivered(self._file, offset)
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
            stored = read_record(self._file, offset)
            if stored is None:
                following = find_record(self._file, offset + 1)
                if following is None:
                    return None
                self._unreadable.append((offset, following))
                self._offset = following
                continue
            self._offset = offset + stored.size_bytes
            if stored.is_delivered or offset in self._unmarked.get(self.path, ()):
                continue
            try:
                return Record(offset, lines_of(stored.payload))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s: the record at byte %d cannot be understood: %r", self.path, offset, error)
                self._unreadable.append((offset, self._offset))


def waiting_clicks(path: Path) -> int:
    """How many clicks of a segment are not delivered, whoever writes it; 0 where it cannot be read."""
    try:
        state = path.stat()
        if time.time() - state.st_mtime > STEADY_SECONDS:
            return _remembered_count(path, state.st_ino, state.st_size, state.st_mtime_ns)
        return undelivered_clicks(path.read_bytes())
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.error("%s cannot be read: %s", path, error)
        return 0


@lru_cache(maxsize=1024)
def _remembered_count(path: Path, inode: int, size: int, modified_ns: int) -> int:
    """The count of a segment that has not changed for a while, by all that would show a change."""
    return undelivered_clicks(path.read_bytes())
