"""The records of a spool segment, each a batch of clicks:

payload bytes (4) · CRC-32 (4) · clicks (4) · delivered (1) · payload: JSON {"columns": […], "lines": [[…], …]}
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tracker.click_line import ClickLine
from tracker.events import CLICK_COLUMNS

RECORD_CLICKS = 500
# No record is longer; a header that says otherwise is broken.
MAX_RECORD_BYTES = 16 << 20
# What is looked through at once for the next record after a damaged one.
SEARCH_BYTES = 1 << 20

_HEADER = struct.Struct(">IIIB")
_DELIVERED_AT = _HEADER.size - 1
# The checksum does not cover this mark, so it is one that no single flipped bit makes.
_DELIVERED = 0xB6
_PAYLOAD_START = b'{"columns":'


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A whole record as it is on disk."""

    payload: bytes
    is_delivered: bool

    @property
    def size_bytes(self) -> int:
        return _HEADER.size + len(self.payload)


def records_of(lines: Sequence[ClickLine]) -> bytes:
    """Clicks as records that are not delivered yet."""
    return b"".join(_record_of(lines[at : at + RECORD_CLICKS]) for at in range(0, len(lines), RECORD_CLICKS))


def _record_of(lines: Sequence[ClickLine]) -> bytes:
    # Not whether it was a visitor's first click: when it is delivered, a second may have come before it.
    document = {"columns": CLICK_COLUMNS, "lines": [line[:4] for line in lines]}
    payload = json.dumps(document, separators=(",", ":")).encode()
    return _HEADER.pack(len(payload), zlib.crc32(payload, len(lines)), len(lines), 0) + payload


def read_record(file: BinaryIO, offset: int) -> StoredRecord | None:
    """The record at an offset; None where there is no whole one that its checksum is right for."""
    header = os.pread(file.fileno(), _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return None
    length, crc, clicks, delivered = _HEADER.unpack(header)
    if not 0 < length <= MAX_RECORD_BYTES:
        return None
    payload = os.pread(file.fileno(), length, offset + _HEADER.size)
    is_whole = len(payload) == length and zlib.crc32(payload, clicks) == crc
    return StoredRecord(payload, delivered == _DELIVERED) if is_whole else None


def find_record(file: BinaryIO, start: int) -> int | None:
    """Where the first whole record at or after `start` begins, by how payloads begin."""
    at = start
    while len(piece := os.pread(file.fileno(), SEARCH_BYTES, at)) >= len(_PAYLOAD_START):
        found = piece.find(_PAYLOAD_START)
        if found < 0:
            at += len(piece) - len(_PAYLOAD_START) + 1
            continue
        candidate = at + found - _HEADER.size
        if candidate >= start and read_record(file, candidate) is not None:
            return candidate
        at += found + 1
    return None


def mark_delivered(file: BinaryIO, offset: int) -> None:
    """Mark the record at an offset. Raises OSError where the disk takes no mark."""
    os.pwrite(file.fileno(), bytes([_DELIVERED]), offset + _DELIVERED_AT)


def undelivered_clicks(data: bytes) -> int:
    """How many clicks of records are not delivered, by their headers alone."""
    total, offset = 0, 0
    while offset + _HEADER.size <= len(data):
        length, _, clicks, delivered = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size + length
        if not 0 < length <= MAX_RECORD_BYTES or offset > len(data):
            break
        total += 0 if delivered == _DELIVERED else clicks
    return total


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
