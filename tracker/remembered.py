"""What was worked out from directory entries (or from none), remembered until one of those entries changes.

Two generations bound it: when the younger one is full the older one goes, and what is still asked for moves over. So
what is used often stays, whatever else comes by once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from typing import Generic, TypeVar

V = TypeVar("V")

# Places to remember which keys were offered once, by their hashes; when a quarter is taken, it begins anew.
DOORS = 1 << 17


class _Generation(Generic[V]):
    """Values by what they answer, and what they answer by the names of the entries that they came from."""

    __slots__ = ("by_name", "room", "values")

    def __init__(self, room: int) -> None:
        self.values: dict[bytes, tuple[V, tuple[str, ...]]] = {}
        self.by_name: defaultdict[str, list[bytes]] = defaultdict(list)
        self.room = room

    def keep(self, key: bytes, value: V, names: tuple[str, ...]) -> None:
        self.room -= 1  # also where it takes the place of another, so that `by_name` is bounded too
        self.values[key] = value, names
        for name in names:
            self.by_name[name].append(key)

    def forget(self, name: str) -> None:
        for key in self.by_name.pop(name, ()):
            self.values.pop(key, None)


class Remembered(Generic[V]):
    """At most `2 * most` values, each under a key, made from directory entries with the given names."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: _Generation[V] = _Generation(most)
        self._old: _Generation[V] = _Generation(most)
        self._offered = bytearray(DOORS)
        self._offers = 0

    def keys(self) -> Set[bytes]:
        """Everything under which a value is kept."""
        return self._young.values.keys() | self._old.values.keys()

    def get(self, key: bytes) -> V | None:
        """What was kept under a key; None when it was forgotten."""
        found = self._young.values.get(key)
        if found is None:
            found = self._old.values.get(key)
            if found is None:
                return None
            self.keep(key, *found)
        return found[0]

    def keep(self, key: bytes, value: V, names: tuple[str, ...]) -> None:
        """Keep a value until `forget` of one of `names`, or until there was much else."""
        if not self._young.room:
            self._young, self._old = _Generation(self._most), self._young
        self._young.keep(key, value, names)
        self._old.values.pop(key, None)  # else it would come back once the new one is forgotten

    def offer(self, key: bytes, value: V, names: tuple[str, ...]) -> None:
        """Keep a value whose key was offered before, lately. What comes by once is not kept: that would cost more than
        making it again, and where a million links are followed in turn, nearly all come by once."""
        door = hash(key) % DOORS
        if self._offered[door]:
            self.keep(key, value, names)
            return
        self._offered[door] = 1
        self._offers += 1
        if self._offers > DOORS // 4:
            self._offered, self._offers = bytearray(DOORS), 0

    def forget(self, name: str | None) -> None:
        """Forget what came from an entry; everything, for None."""
        if name is None:
            self._young, self._old = _Generation(self._most), _Generation(self._most)
        else:
            self._young.forget(name)
            self._old.forget(name)
