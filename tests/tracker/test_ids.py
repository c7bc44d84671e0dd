"""Ids: their form, that no two are alike, and that all of chance goes into them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

import pytest

from tracker.ids import POOLED_BYTES, IdMaker, new_time_ordered_id, new_visitor_id

NOW_MS = 1_795_000_000_123
ENOUGH = 3 * POOLED_BYTES  # more than several blocks of random bytes give


def made() -> list[tuple[str, Callable[[], str], int]]:
    maker = IdMaker()
    return [
        ("one visitor", new_visitor_id, 4),
        ("many visitors", maker.visitor, 4),
        ("one click", lambda: new_time_ordered_id(NOW_MS), 7),
        ("many clicks", lambda: maker.click(NOW_MS), 7),
    ]


@pytest.mark.parametrize(("make", "version"), [case[1:] for case in made()], ids=[case[0] for case in made()])
def test_ids_are_uuids_of_their_version_and_no_two_are_alike(make: Callable[[], str], version: int) -> None:
    ids = [make() for _ in range(ENOUGH)]
    assert len(set(ids)) == len(ids)
    for text in ids:
        read = uuid.UUID(text)
        assert (str(read), read.version, read.variant) == (text, version, uuid.RFC_4122)
    if version == 7:
        assert {uuid.UUID(text).int >> 80 for text in ids} == {NOW_MS}


@pytest.mark.parametrize("kind", ["visitor", "click"])
def test_every_digit_that_may_differ_does(kind: str) -> None:
    """Each place has all digits, about equally often: of 16 (4 for the variant), within a fifth over thousands."""
    maker = IdMaker()
    ids = [maker.visitor() if kind == "visitor" else maker.click(NOW_MS) for _ in range(ENOUGH)]
    fixed = {8, 13, 14, 18, 23} if kind == "visitor" else {*range(15), 18, 23}
    for place in set(range(36)) - fixed:
        digits = [text[place] for text in ids]
        possible = "89ab" if place == 19 else "0123456789abcdef"
        counts = {digit: digits.count(digit) * len(possible) / ENOUGH for digit in possible}
        assert sum(map(digits.count, possible)) == ENOUGH, (place, set(digits))
        assert all(0.8 < share < 1.2 for share in counts.values()), (place, counts)


def test_a_later_millisecond_gives_a_later_id() -> None:
    maker = IdMaker()
    ids = [maker.click(NOW_MS + number // 3) for number in range(300)]
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)
    assert maker.click(NOW_MS - 1)[:13] < ids[0][:13]


def test_randomness_is_asked_for_in_blocks() -> None:
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    maker = IdMaker(random_bytes)
    for _ in range(100):
        maker.visitor()
        maker.click(NOW_MS)
    assert asked == [POOLED_BYTES, POOLED_BYTES]
