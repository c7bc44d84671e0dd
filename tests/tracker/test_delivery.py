"""Deliveries' ids: in the order in which they were made."""

from __future__ import annotations

import itertools
import uuid

from tracker.delivery import MOST_IN_MS, OrderedIds


def test_ids_go_by_time_and_within_a_millisecond_by_count() -> None:
    ids = OrderedIds()
    clock = itertools.chain(
        [1_770_000_000_000] * (MOST_IN_MS + 500), [1_770_000_000_000 - 5] * 10, [1_770_000_000_009] * 3
    )
    made = [ids.next(now_ms) for now_ms in clock]
    assert made == sorted(set(made))
    assert all(uuid.UUID(one.removeprefix("msg_")).version == 7 for one in made)
    assert made[0].startswith("msg_019c1c38-a400-7000-")
