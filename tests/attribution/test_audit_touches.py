"""The audit compares Redis's touches with ClickHouse's last clicks, and no tail under way is a false alarm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from attribution import audit_touches
from attribution.audit import Audit, audit
from attribution.findings import Finding
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import DAY, joined, uuid_of
from tests.attribution.journaling import journal, journal_bytes
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.events import Clicked
from tracker.ids import time_ordered_id_of
from tracker.journal import Journal
from tracker.metrics import Metrics
from tracker.program import Program
from tracker.spool import Spool

PROGRAM = Program()
NOW = time.time_ns() // 1_000_000
"""Of the machine: Redis forgets touches by its clock."""
KINDS = ("touch_missing", "touch_differs", "touch_unknown")


class Touched:
    """Clicks that went through the tracker's own journal, and what an audit says of them."""

    def __init__(self, url: str, warehouse: Warehouse, folder: Path) -> None:
        self.client = redis.Redis.from_url(url)
        self.warehouse = warehouse
        self.loader = Loader(self.client, warehouse, PROGRAM, lambda: NOW)
        self._url = url
        self._folder = folder
        self._clicks = 0

    def click(self, visitor: int, days_ago: float, partner_id: str = "P", **more: Any) -> Clicked:
        """A click that is accepted: in the journal, and among the touches."""
        self._clicks += 1
        at = NOW - round(days_ago * DAY)
        fields = {"product": "livechat", "campaign": "pp_a b", **more}
        one = Clicked(click_id=time_ordered_id_of(at, f"{self._clicks:020x}"), clicked_at=at, partner_id=partner_id,
                      visitor_id=uuid_of(visitor), **fields)  # fmt: skip

        async def append() -> None:
            opened = Journal(self._url, Spool(self._folder), PROGRAM.window_ms, lambda: NOW, Metrics("0"))
            await opened.append_many([one])
            await opened.close()

        asyncio.run(append())
        return one

    def attribute(self) -> None:
        while self.loader.load_once():
            pass
        run_round(self.warehouse, PROGRAM, NOW)

    def audited(self) -> Audit:
        return audit(self.warehouse, PROGRAM, self.client)

    def findings(self) -> list[tuple[str, str]]:
        """Kind and visitor of what an audit found of touches."""
        return [(one.kind, one.subject) for one in self.audited().findings if one.kind in KINDS]


@pytest.fixture
def touched(empty_redis_url: str, warehouse: Warehouse, tmp_path: Path) -> Iterator[Touched]:
    """Five visitors with one to three clicks, one with eleven, one whose only click was before the window."""
    made = Touched(empty_redis_url, warehouse, tmp_path)
    journal(made.client, joined("P"))
    for visitor in range(1, 6):
        for number in range(1 + visitor % 3):
            made.click(visitor, 10 * visitor + number)
    for number in range(11):
        made.click(6, number)
    made.click(7, 121)
    made.click(8, 1, verdict="bot")
    made.attribute()
    yield made
    made.client.close()
    for name in ("us_south1", "eu_west3"):
        warehouse.sibling(f"{warehouse.database}_{name}").drop()


def key(visitor: int) -> str:
    return redis_keys.touches(uuid_of(visitor))


def test_what_the_tracker_writes_agrees(touched: Touched) -> None:
    result = touched.audited()
    assert result.is_clean, result.findings
    assert {kind: result.finding_counts[kind] for kind in KINDS} == dict.fromkeys(KINDS, 0)
    assert result.touches is not None
    assert (result.touches.visitors, result.touches.shares, result.touches.of_shares, result.touches.keys) == (
        6,
        1,
        1,
        6,
    )
    assert audit(touched.warehouse, PROGRAM).touches is None, "without a Redis nothing is compared"


def test_a_tail_that_is_not_loaded_is_no_false_alarm(touched: Touched) -> None:
    """Neither of visitors who are known, nor of new ones, nor where it has pushed out what is loaded."""
    for number in range(9):
        touched.click(1, 0.5 + number / 10)
    touched.click(2, 5, "Q")
    touched.click(3, 119)
    touched.click(9, 0)
    assert touched.findings() == []
    touched.loader.load_once()  # stored, and not published yet
    assert touched.findings() == []
    run_round(touched.warehouse, PROGRAM, NOW)
    assert touched.findings() == []


def test_what_is_loaded_while_the_audit_looks_is_no_false_alarm(
    touched: Touched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of its looks: at ClickHouse, Redis, the journal, and ClickHouse again."""
    steps = ("_touches", "_visitors_in_redis", "_waiting")
    for number, name in enumerate(steps):
        original = getattr(audit_touches._Comparison, name)

        def busy(self: Any, *given: Any, original: Any = original, number: int = number) -> Any:
            touched.click(1, 0.1 + number / 100)
            touched.click(20 + number, 0.2)
            touched.loader.load_once()
            yield from original(self, *given)
            touched.click(1, 0.1 + number / 90)
            touched.loader.load_once()

        monkeypatch.setattr(audit_touches._Comparison, name, busy)
    for _ in range(2):
        assert touched.findings() == []


def test_what_redis_lacks_is_found(touched: Touched) -> None:
    touched.client.delete(key(2))
    lines = touched.client.get(key(6)).split(b"\n")  # type: ignore[union-attr]
    touched.client.set(key(6), b"\n".join(lines[:3] + lines[4:]))
    assert sorted(touched.findings()) == sorted([("touch_missing", uuid_of(2))] * 3 + [("touch_missing", uuid_of(6))])
    result = touched.audited()
    assert not result.is_clean
    detail = next(one.detail for one in result.findings if one.subject == uuid_of(6))
    assert detail == f"Redis lacks {lines[3].decode()}"


def test_a_touch_that_says_something_else_is_found(touched: Touched) -> None:
    line = touched.client.get(key(3))
    assert isinstance(line, bytes)
    forged = line.replace(b" P ", b" Q ", 1)
    touched.client.set(key(3), forged)
    assert touched.findings() == [("touch_differs", uuid_of(3))]


def test_a_touch_of_a_click_that_nobody_knows_is_found(touched: Touched) -> None:
    """Of a visitor who is known, and of one who is not."""
    for number, visitor in enumerate((4, 30)):
        line = f"{NOW - 1000} {uuid_of(900 + number)} P livechat "
        touched.client.set(key(visitor), line.encode() + b"\n" + (touched.client.get(key(visitor)) or b""))  # type: ignore[operator]
    touched.client.set(key(31), f"{NOW - 1000} nonsense")
    found = [one for one in touched.audited().findings if one.kind in KINDS]
    assert sorted(one.subject for one in found) == sorted(map(uuid_of, (4, 30, 31)))
    assert {one.kind for one in found} == {"touch_unknown"}
    said = f"Redis has {NOW - 1000} {uuid_of(901)} P livechat , which is neither stored nor waiting"
    assert Finding("touch_unknown", uuid_of(30), said) in found


def test_a_click_in_quarantine_is_known(touched: Touched) -> None:
    """Its touch was written when it was accepted; that it could not be stored is listed by the quarantine."""
    odd = uuid_of(950)
    row = f"{odd}\t{NOW - 1000}\t{uuid_of(40)}\tP\n"  # too few cells
    journal_bytes(touched.client, redis_keys.click_journal(0), "clicks", row.encode(), 1)
    touched.client.set(key(40), f"{NOW - 1000} {odd} P livechat ")
    assert touched.findings() == []
    touched.attribute()
    assert touched.warehouse.rows("select count() as n from quarantine") == [{"n": 1}]
    assert touched.findings() == []


def test_of_many_visitors_a_sample_is_compared(touched: Touched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_touches, "CLICKS_PER_SHARE", 5)
    monkeypatch.setattr(audit_touches, "MAX_SHARES", 2)
    monkeypatch.setattr(audit_touches, "MAX_KEYS", 3)
    looked_at = touched.audited().touches
    assert looked_at is not None
    assert (looked_at.shares, looked_at.of_shares) == (2, 5)
    assert looked_at.visitors <= 6 and looked_at.keys == 3
    monkeypatch.setattr(audit_touches, "MAX_SHARES", 99)
    touched.client.flushall()
    assert len(touched.findings()) == 11 + 8, "shares are all of the visitors, each once"


def test_a_redis_that_is_away_is_said(warehouse: Warehouse, tmp_path: Path) -> None:
    away = redis.Redis(unix_socket_path=str(tmp_path / "nothing.sock"))
    with pytest.raises(Unavailable, match="Redis does not answer"):
        audit(warehouse, PROGRAM, away)
