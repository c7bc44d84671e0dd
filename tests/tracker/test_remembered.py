"""What is remembered: bounded, kept while it is used, and forgotten with the entry that it came from."""

from __future__ import annotations

import random

from tracker.remembered import DOORS, Remembered


def test_what_came_from_an_entry_goes_with_it_and_the_rest_stays() -> None:
    remembered: Remembered[str] = Remembered(100)
    remembered.keep(b"/one", "1", ("one", "P"))
    remembered.keep(b"/one/", "1", ("one", "P"))
    remembered.keep(b"/two", "2", ("two", "P"))
    remembered.keep(b"/a/Q", "q", ("Q",))
    remembered.forget("one")
    assert [remembered.get(key) for key in (b"/one", b"/one/", b"/two", b"/a/Q")] == [None, None, "2", "q"]
    remembered.keep(b"/one", "1 again", ("one", "Q"))
    remembered.forget("Q")
    assert [remembered.get(key) for key in (b"/one", b"/two", b"/a/Q")] == [None, "2", None]
    remembered.forget("nobody")
    remembered.forget(None)
    assert not remembered.keys() and remembered.get(b"/one") is None


def test_an_old_value_is_forgotten_like_a_young_one() -> None:
    remembered: Remembered[int] = Remembered(10)
    for number in range(15):
        remembered.keep(b"%d" % number, number, (str(number),))
    assert remembered.get(b"3") == 3, "kept in the older generation, moved to the younger"
    for name in ("3", "4"):
        remembered.forget(name)
        assert remembered.get(name.encode()) is None


def test_what_is_asked_for_stays_however_much_else_comes_by() -> None:
    remembered: Remembered[int] = Remembered(100)
    remembered.keep(b"often", -1, ("often",))
    for number in range(10_000):
        remembered.keep(b"%d" % number, number, (str(number),))
        assert number % 50 or remembered.get(b"often") == -1
        assert len(remembered.keys()) <= 200


def test_its_index_is_bounded_too() -> None:
    """The same few keys, kept and forgotten for ever by changes of one of their entries."""
    remembered: Remembered[int] = Remembered(100)
    for number in range(10_000):
        remembered.keep(b"key", number, ("link", "partner"))
        remembered.forget("link")
    generations = (remembered._young, remembered._old)
    assert sum(len(keys) for generation in generations for keys in generation.by_name.values()) <= 200


def test_never_what_was_forgotten() -> None:
    """Random keeping, forgetting and asking: an answer is always the newest that was kept since the last forgetting."""
    chance = random.Random(5)
    remembered: Remembered[int] = Remembered(20)
    newest: dict[bytes, tuple[int, tuple[str, ...]]] = {}
    for number in range(20_000):
        key = b"%d" % chance.randrange(40)
        if chance.random() < 0.3:
            newest[key] = number, (f"link {chance.randrange(30)}", f"partner {chance.randrange(5)}")
            remembered.keep(key, *newest[key])
        elif chance.random() < 0.1:
            name = chance.choice(["link", "partner"]) + f" {chance.randrange(30)}"
            remembered.forget(name)
            newest = {key: kept for key, kept in newest.items() if name not in kept[1]}
        elif (found := remembered.get(key)) is not None:
            assert found == newest[key][0]


def test_what_is_offered_once_is_not_kept() -> None:
    remembered: Remembered[int] = Remembered(1000)
    for number in range(500):
        remembered.offer(b"%d" % number, number, ())
    assert len(remembered.keys()) < 50
    for number in range(500):
        remembered.offer(b"%d" % number, number, ())
    assert len(remembered.keys()) == 500


def test_offers_of_long_ago_are_forgotten() -> None:
    """Else whatever is offered would be kept in the end."""
    remembered: Remembered[int] = Remembered(10_000)
    for number in range(4 * DOORS):
        remembered.offer(b"%d" % number, number, ())
    kept = sum(remembered.get(b"%d" % number) is not None for number in range(4 * DOORS - 1000, 4 * DOORS))
    assert kept < 350
