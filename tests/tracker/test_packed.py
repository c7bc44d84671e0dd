"""Packed lines behave like a dict, at any size and whatever shares a bucket."""

from __future__ import annotations

import random
import sys

import pytest

from tracker import packed as packed_module
from tracker.packed import BUCKETS, PIECE_BUCKETS, Packed


@pytest.mark.parametrize("buckets", [1, 7, BUCKETS])
def test_it_is_a_dict(buckets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random puts and drops; with few buckets every line has many neighbours, and keys are each other's beginnings."""
    monkeypatch.setattr(packed_module, "BUCKETS", buckets)
    chance = random.Random(3)
    packed, plain = Packed(), dict[bytes, bytes]()
    keys = [b"%s%d" % (letter, number) for letter in (b"a", b"aa", b"A", b"-") for number in range(60)]
    for _ in range(20_000):
        key = chance.choice(keys)
        if chance.random() < 0.6:
            plain[key] = b"\t".join(chance.choices([*keys, b""], k=chance.randrange(4)))
            packed.put(key, plain[key])
        else:
            plain.pop(key, None)
            packed.drop(key)
        asked = chance.choice(keys)
        assert packed.get(asked) == plain.get(asked)
    assert {key: packed.get(key) for key in keys} == {key: plain.get(key) for key in keys}
    assert len(packed) == len(plain)


def test_it_is_taken_over_piece_by_piece() -> None:
    old, new = Packed(), Packed()
    for number in range(1000):
        old.put(b"old%d" % number, b"1")
        new.put(b"new%d" % number, b"2")
        old.put(b"both%d" % number, b"1")
        new.put(b"both%d" % number, b"2")
    pieces = list(new.pieces())
    assert [start for start, _ in pieces] == list(range(0, BUCKETS, PIECE_BUCKETS))
    for start, buckets in pieces:
        assert old.get(b"both7") in (b"1", b"2"), "never without"
        old.take(start, buckets)
    assert len(old) == len(new) == 2000
    assert old.get(b"old7") is None
    assert (old.get(b"new7"), old.get(b"both7")) == (b"2", b"2")


def test_it_is_small() -> None:
    """What keeps a million links below the memory that a worker may have: less than 60 bytes a line beside its text."""
    packed, text = Packed(), 0
    for number in range(200_000):
        key, line = b"c%06d" % number, b"W-5ZzZyiR\tlivechat\tpp_campaign-%d\t" % number
        packed.put(key, line)
        text += len(key) + len(line)
    size = sum(sys.getsizeof(bucket) for _, piece in packed.pieces() for bucket in piece) + 8 * BUCKETS
    assert size - text < 60 * 200_000
