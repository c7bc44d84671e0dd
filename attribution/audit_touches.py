"""Whether Redis's touches agree with ClickHouse's last clicks, while both go on.

Redis is ahead of ClickHouse by what waits in the journal, so what it has and ClickHouse has not is looked for there
before it is found wanting. A click is in the journal until it is stored: whoever looks at the touches first, then at
the journal, and then at the clicks, finds every one that was accepted.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from attribution.findings import Findings
from attribution.journal_streams import PAGE_ENTRIES
from attribution.rebuild_touches import CLICKS_PER_SHARE, TOUCHES_PER_VISITOR
from attribution.recomputation import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.ids import is_uuid

MAX_SHARES = 10
"""Shares of the visitors that are compared, about 200,000 clicks each; of more, as many by chance."""
MAX_KEYS = 10_000
"""Visitors whom Redis knows that are looked up in ClickHouse: a thousand at a time may read all visitor ids there."""
MAX_SUSPECTS = 20_000
"""Touches that ClickHouse did not have and are looked for in the journal; after an outage there may be millions."""
KEYS_PER_CALL = 1_000
EXPIRY_MARGIN_MS = 60_000
"""Touches that Redis forgets within this time are not asked for."""

_ID = slice(14, 50)  # of a touch line: the click's id
_KEYS = redis_keys.touches_of_shard(0).replace("c0", f"c[0-{redis_keys.SHARDS - 1}]") + "*"


@dataclass(frozen=True, slots=True)
class TouchesCompared:
    """What was looked at: visitors of so many shares of all, and visitors whom Redis knows."""

    visitors: int
    shares: int
    of_shares: int
    keys: int


def compare_touches(
    client: redis.Redis, warehouse: Warehouse, through_load: int, window_ms: int, findings: Findings
) -> TouchesCompared:
    """Add to `findings` where touches are not the newest clicks of loads up to `through_load`, which are published.

    `client` must give bytes. Raises Unavailable when a store does not answer.
    """
    try:
        now: Any = client.time()  # Redis forgets by its own clock
        since_ms = now[0] * 1000 - window_ms + EXPIRY_MARGIN_MS
        return _Comparison(client, warehouse, findings, since_ms).run(through_load)
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


class _Comparison:
    """One comparison. `suspects`: touch lines that ClickHouse did not have, with their visitors."""

    def __init__(self, client: redis.Redis, warehouse: Warehouse, findings: Findings, since_ms: int) -> None:
        self._client = client
        self._warehouse = warehouse
        self._findings = findings
        self._since_ms = since_ms
        self._suspects: dict[str, tuple[str, str]] = {}

    def run(self, through_load: int) -> TouchesCompared:
        clicks = self._warehouse.rows(QUERIES["rebuild_count_touches"], since_ms=self._since_ms)[0]["clicks"]
        of_shares = clicks // CLICKS_PER_SHARE + 1
        shares = random.sample(range(of_shares), min(of_shares, MAX_SHARES))
        visitors = sum(self._compare_share(share, of_shares, through_load) for share in shares)
        keys = self._look_up_keys()
        self._findings.add("touch_unknown", self._unknown())
        return TouchesCompared(visitors, len(shares), of_shares, keys)

    def _compare_share(self, share: int, shares: int, through_load: int) -> int:
        """ClickHouse's newest touches of some visitors against Redis's. How many visitors there were."""
        rows = self._warehouse.rows(
            QUERIES["audit_touches"],
            through_load=through_load,
            since_ms=self._since_ms,
            share=share,
            shares=shares,
            most=TOUCHES_PER_VISITOR,
        )
        expected = {row["visitor_id"]: row["lines"] for row in rows}
        for visitor_id, stored in self._touches(expected):
            stored_ids = {line[_ID]: line for line in stored}
            expected_ids = {line[_ID]: line for line in expected[visitor_id]}
            newest = sorted((expected_ids | stored_ids).values(), key=_order, reverse=True)[:TOUCHES_PER_VISITOR]
            missing = [line for line in newest if line[_ID] not in stored_ids]
            self._findings.add("touch_missing", ((visitor_id, f"Redis lacks {line}") for line in missing))
            differing = [
                f"Redis has {stored_ids[one]}, the click is {expected_ids[one]}"
                for one in stored_ids.keys() & expected_ids.keys()
                if stored_ids[one] != expected_ids[one]
            ]
            self._findings.add("touch_differs", ((visitor_id, detail) for detail in differing))
            self._suspect(visitor_id, (line for one, line in stored_ids.items() if one not in expected_ids))
        return len(expected)

    def _touches(self, visitor_ids: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        """What Redis has of each visitor: touch lines of the time that is compared, newest first."""
        shards: defaultdict[int, list[str]] = defaultdict(list)
        for visitor_id in visitor_ids:
            shards[redis_keys.shard_of(visitor_id)].append(visitor_id)
        for visitors in shards.values():
            for step in _steps(visitors, KEYS_PER_CALL):
                values: Any = self._client.mget([redis_keys.touches(one) for one in step])
                for visitor_id, value in zip(step, values, strict=True):
                    lines = (value or b"").decode(errors="replace").split("\n")
                    yield visitor_id, [line for line in lines if line[:13] > f"{self._since_ms:013d}"]

    def _look_up_keys(self) -> int:
        """Look for visitors whom Redis knows and ClickHouse does not. How many were looked up."""
        looked_up = 0
        for visitors in self._visitors_in_redis():
            rows = self._warehouse.rows(QUERIES["audit_known_visitors"], visitor_ids=visitors)
            known = {row["visitor_id"] for row in rows}
            for visitor_id, lines in self._touches(one for one in visitors if one not in known):
                self._suspect(visitor_id, lines)
            looked_up += len(visitors)
        return looked_up

    def _visitors_in_redis(self) -> Iterator[list[str]]:
        cursor, left = 0, MAX_KEYS
        while left > 0:
            answer: Any = self._client.scan(cursor, _KEYS, KEYS_PER_CALL)
            cursor, keys = answer
            names = (key.decode(errors="replace").rpartition(":")[2] for key in keys[:left])
            visitors = [name for name in names if is_uuid(name)]
            left -= len(keys)
            if visitors:
                yield visitors
            if cursor == 0:
                return

    def _suspect(self, visitor_id: str, lines: Iterable[str]) -> None:
        for line in lines:
            if not is_uuid(line[_ID]):
                self._findings.add("touch_unknown", [(visitor_id, f"Redis has {line}, which is no touch")])
            elif len(self._suspects) < MAX_SUSPECTS:
                self._suspects[line[_ID]] = (visitor_id, line)

    def _unknown(self) -> Iterator[tuple[str, str]]:
        """The suspects that are neither in the journal nor stored, in this order (see above)."""
        for click_id in self._waiting():
            self._suspects.pop(click_id, None)
        for step in _steps(list(self._suspects), KEYS_PER_CALL):
            visitors = sorted({self._suspects[click_id][0] for click_id in step})
            for row in self._warehouse.rows(QUERIES["audit_known_clicks"], click_ids=step, visitor_ids=visitors):
                self._suspects.pop(row["click_id"], None)
        for visitor_id, line in self._suspects.values():
            yield visitor_id, f"Redis has {line}, which is neither stored nor waiting"

    def _waiting(self) -> Iterator[str]:
        """Ids of clicks in the journal, until no suspect is left."""
        for shard in range(redis_keys.SHARDS):
            start = "-"
            while self._suspects:
                page: Any = self._client.xrange(redis_keys.click_journal(shard), start, "+", PAGE_ENTRIES)
                for _, fields in page:  # a click's row begins with its id
                    for row in fields.get(b"clicks", b"").split(b"\n"):
                        yield row.partition(b"\t")[0].decode(errors="replace")
                if len(page) < PAGE_ENTRIES:
                    break
                start = f"({page[-1][0].decode()}"


def _order(line: str) -> str:
    """What orders touch lines: the time, then the click's id."""
    return line[: _ID.stop]


def _steps(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
