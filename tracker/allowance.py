"""How much anybody may ask for: so many at once, and so many a second in the long run.

Kept in a worker's memory, one number a name (the generic cell rate algorithm, ITU-T I.371): a flood costs Redis
nothing. With N workers a flood over many connections gets up to N times as much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_NAMES = 65_536  # remembered; 10 MB a worker


@dataclass(slots=True)
class Allowance:
    """`burst` at once, and `per_second` in the long run, for each name."""

    burst: int
    per_second: float
    _used_until: dict[str, float] = field(default_factory=dict)

    def wait_seconds(self, name: str, now_s: float) -> float:
        """Take one; 0. Or, where there is none left, nothing is taken: how long until there is one."""
        used_until = max(self._used_until.get(name, now_s), now_s)
        too_early = used_until - now_s - (self.burst - 1) / self.per_second
        if too_early > 1e-9:
            return too_early
        if len(self._used_until) >= MOST_NAMES and name not in self._used_until:
            self._forget(now_s)
        self._used_until[name] = used_until + 1 / self.per_second
        return 0.0

    def _forget(self, now_s: float) -> None:
        """Those who have their whole allowance again; everybody, where that is too few."""
        self._used_until = {name: until for name, until in self._used_until.items() if until > now_s}
        if len(self._used_until) > MOST_NAMES // 2:
            self._used_until.clear()
