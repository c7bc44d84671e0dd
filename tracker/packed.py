"""A dictionary of short lines in few large pieces: a million of them cost what their text costs and little more.

A line is kept as text in one of BUCKETS buckets, which its key chooses, and a bucket is searched as text. Beside a
dict of Python objects that is a quarter of the memory; a look-up costs about the same, for most of either is waiting
for memory; the garbage collector has nothing to follow; nothing is ever resized, so that no change takes long; and the
buckets are what the snapshot on disk holds, as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zlib import crc32

# At a million lines eight share a bucket; at a hundred million, look-ups would take ten times as long.
BUCKETS = 1 << 17
PIECE_BUCKETS = 512
"""So many are read, written or replaced in one go: well under a millisecond where there are a million lines."""


class Packed:
    """Lines by their keys. Neither may have a line feed or a NUL in it, nor a key a tab."""

    def __init__(self) -> None:
        self._buckets = [b""] * BUCKETS
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> bytes | None:
        """The line of a key."""
        bucket = self._buckets[crc32(key) % BUCKETS]
        at = bucket.find(b"\n%b\t" % key)
        if at < 0:
            return None
        at += len(key) + 2
        end = bucket.find(b"\n", at)
        return bucket[at:end] if end >= 0 else bucket[at:]

    def put(self, key: bytes, line: bytes) -> None:
        """Set the line of a key."""
        self.drop(key)
        self._buckets[crc32(key) % BUCKETS] += b"\n%b\t%b" % (key, line)
        self._count += 1

    def drop(self, key: bytes) -> None:
        """Forget a key, if it is there."""
        number = crc32(key) % BUCKETS
        bucket = self._buckets[number]
        at = bucket.find(b"\n%b\t" % key)
        if at >= 0:
            end = bucket.find(b"\n", at + 1)
            self._buckets[number] = bucket[:at] + (bucket[end:] if end >= 0 else b"")
            self._count -= 1

    def pieces(self) -> Iterator[tuple[int, list[bytes]]]:
        """All buckets in order, PIECE_BUCKETS at a time with the number of the first; each piece as it is when it is
        asked for."""
        for start in range(0, BUCKETS, PIECE_BUCKETS):
            yield start, self._buckets[start : start + PIECE_BUCKETS]

    def take(self, start: int, buckets: Sequence[bytes]) -> None:
        """Replace buckets from number `start` on by those of another Packed."""
        old = self._buckets[start : start + len(buckets)]
        self._buckets[start : start + len(buckets)] = buckets
        self._count += sum(bucket.count(b"\n") for bucket in buckets) - sum(bucket.count(b"\n") for bucket in old)
