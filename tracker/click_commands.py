"""The call that appends clicks in Redis: what it takes of them, as append_clicks.lua reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tracker import redis_keys
from tracker.click_line import ClickLine
from tracker.redis_pipe import packed

_SCRIPT = (Path(__file__).parent / "append_clicks.lua").read_bytes()
_SCRIPT_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()
_SHARD_KEYS = [
    (redis_keys.click_journal(shard).encode(), redis_keys.click_counts(shard).encode())
    for shard in range(redis_keys.SHARDS)
]
_BY_SHA, _BY_TEXT = (b"EVALSHA", _SCRIPT_SHA), (b"EVAL", _SCRIPT)
_COUNTS = redis_keys.JOURNAL.encode()


class ClickCommands:
    """Makes the calls of a journal. Of all clicks `limit_clicks` may wait; touches live for the window."""

    def __init__(self, limit_clicks: int, window_ms: int, now_ms: Callable[[], int]) -> None:
        self._limit_clicks = limit_clicks
        self._window_ms = window_ms
        self._now_ms = now_ms

    def by_sha(self, lines: Sequence[ClickLine]) -> bytes:
        """The call for a Redis that has the script; else it answers NOSCRIPT."""
        return self._call(_BY_SHA, lines)

    def by_text(self, lines: Sequence[ClickLine]) -> bytes:
        """The call that gives Redis the script."""
        return self._call(_BY_TEXT, lines)

    def _call(self, script: tuple[bytes, bytes], lines: Sequence[ClickLine]) -> bytes:
        return packed([*script, *script_arguments(lines, self._limit_clicks, self._window_ms, self._now_ms())])


def script_arguments(lines: Sequence[ClickLine], limit_clicks: int, window_ms: int, now_ms: int) -> list[bytes]:
    """What append_clicks.lua takes, after the script: the number of keys, the keys, the values.

    A batch goes to the journal of its first click's shard, and its touches to their own shards, in one call. That is
    for one Redis; a Redis Cluster takes one call for each shard's lines. Touches older than the window are not kept.
    `limit_clicks` may wait in the journals of all shards.
    """
    journal, counts = _SHARD_KEYS[lines[0][0]]
    oldest = f"{now_ms - window_ms:013d}"
    rows = "".join([line[1] for line in lines])
    touches = "".join(
        [
            f"{'*' if is_first else '-'}{shard}{visitor_id}{touch}\n"
            for shard, _, visitor_id, touch, is_first in lines
            if touch > oldest
        ]
    )
    return [
        b"3", _COUNTS, journal, counts,
        b"%d" % len(lines), b"%d" % limit_clicks, b"%d" % window_ms,
        _encoded(rows), _encoded(touches), b"%d" % (now_ms + window_ms),
    ]  # fmt: skip


def _encoded(text: str) -> bytes:
    # A lone surrogate, which JSON bodies can carry, has no bytes in UTF-8.
    return text.encode("utf-8", "replace")
