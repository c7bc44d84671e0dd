"""Puts what the directory in Redis has lost back from ClickHouse, in pages, while trackers go on working.

What Redis has is newer than ClickHouse and is left as it is; only what is missing is added. The formats are the
tracker's (tracker/redis_keys.py), byte for byte, so that a directory that is intact stays equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis

from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.delivery import DONE_KEPT, INTO_LANE, KIND, read_delivery
from tracker.events import SubscriptionChanged
from tracker.solutions import KNOWN, TRIAL_DAYS, SolutionLicense, client_license
from tracker.tokens import token_lists

PAGE_ROWS = 5_000
STEP_ROWS = 500  # in one call of a script, so that Redis is never held up for long
MAX_ATTEMPTS = 20  # an entry that others change under us this often is left to them
CHANGES_KEPT = 100_000  # entries in CHANGES, as the tracker keeps them

SEEN = (
    ("license_event", "license_events", "event_id"),
    ("partner_event", "partner_events", "event_id"),
    ("license_transfer", "license_transfers", "event_id"),
)
"""Kinds of facts whose first answer is their id alone: name space, table, id column."""


class DirectoryRebuild:
    """Each method adds what one kind of facts tells, and returns how many entries were missing."""

    def __init__(self, client: redis.Redis, warehouse: Warehouse) -> None:
        """`client` must give bytes."""
        self._redis = client
        self._warehouse = warehouse
        self._set_missing = client.register_script(_SET_MISSING)
        self._replace = client.register_script(_REPLACE)
        self._add_money = client.register_script(_ADD_MONEY)
        self._add_deliveries = client.register_script(_ADD_DELIVERIES)

    def partners(self) -> int:
        """Partners, their e-mails, links, suspensions and first answers."""
        added = 0
        for page in self._pages("rebuild_partners"):
            answers = {row["id"]: json.loads(row["answered"]) for row in page}
            codes = {row["id"]: json.loads(row["links"]) for row in page}
            added += self._merge_changes(
                redis_keys.PARTNERS, {row["id"]: _changes(row) for row in page},
                {row["id"]: _partner_entry(row, answers[row["id"]], codes[row["id"]]) for row in page},
            )  # fmt: skip
            self._add(redis_keys.PARTNER_EMAILS, [(row["email_hash"], row["id"]) for row in page if row["email_hash"]])
            links = [
                (code, json.dumps({"partner_id": name, "product": product, "campaign": "", "landing_url": ""}))
                for name, by_product in codes.items()
                for product, code in by_product.items()
            ]
            self._tell("link", self._add(redis_keys.LINKS, links))
            seen = [(row["id"], _first_answer(row["digest"], answers[row["id"]])) for row in page]
            self._add(redis_keys.seen("partner"), seen)
        return added

    def early_changes(self) -> int:
        """Suspensions and reinstatements of partners whose join is not known."""
        added = 0
        for page in self._pages("rebuild_early_changes"):
            changes = {row["id"]: _changes(row) for row in page}
            added += self._merge_changes(redis_keys.EARLY_CHANGES, changes, {name: [] for name in changes})
        return added

    def tokens(self) -> int:
        """Tokens; those that were revoked go, should an older state of Redis still have them."""
        added, greatest = 0, 0
        for page in self._pages("rebuild_directory_entries", kind="token"):
            valid = [(row["id"], row["value"]) for row in page if row["value"]]
            revoked = [row["id"] for row in page if not row["value"]]
            added += len(self._add(redis_keys.TOKENS, valid))
            if revoked:
                self._redis.hdel(redis_keys.TOKENS, *revoked)
            greatest = max(greatest, *(int(json.loads(value)["id"]) for _, value in valid), 0)
        self._redis.register_script(_RAISE)(keys=[redis_keys.TOKEN_COUNTER], args=[greatest])
        self._list_tokens()
        return added

    def _list_tokens(self) -> None:
        """Make the owners' lists of tokens what TOKENS says, which others may change meanwhile."""
        for _ in range(MAX_ATTEMPTS):
            listed: Any = self._redis.hgetall(redis_keys.TOKEN_LISTS)
            stored: Any = self._redis.hgetall(redis_keys.TOKENS)
            wanted = {owner.encode(): text for owner, text in token_lists(stored).items()}
            swaps = [
                [owner.decode(), listed[owner].decode() if owner in listed else False, text]
                for owner, text in (dict.fromkeys(listed, "[]") | wanted).items()
                if listed.get(owner, b"").decode() != text
            ]
            flags: Any = self._replace(keys=[redis_keys.TOKEN_LISTS], args=[json.dumps(swaps)])
            if all(flags):
                return

    def state(self, kind: str) -> int:
        """Partners' own state of one kind of redis_keys.KEPT. Its links are those that no join brought."""
        added, greatest = 0, 0
        for page in self._pages("rebuild_directory_entries", kind=kind):
            missing = self._add(redis_keys.KEPT[kind], [(row["id"], row["value"]) for row in page if row["value"]])
            self._tell(kind, missing)
            added += len(missing)
            if kind in redis_keys.NUMBERED:
                greatest = max(greatest, *(int(row["id"]) for row in page))
        if greatest:
            raise_counter = self._redis.register_script(_RAISE_IN_HASH)
            raise_counter(keys=[redis_keys.COUNTERS], args=[kind, greatest])
        return added

    def deliveries(self) -> int:
        """Deliveries that wait, each in its place in its lane, due now; and the newest that are done, for the log.

        One whose end ClickHouse has not heard of is made again, under the same id.
        """
        keys = [redis_keys.DELIVERIES, redis_keys.DELIVERIES_BY_TIME, redis_keys.DELIVERIES_DONE,
                redis_keys.DELIVERIES_WAITING]  # fmt: skip
        added = 0
        for page in self._pages("rebuild_deliveries", kind=KIND, done_kept=DONE_KEPT):
            for rows in _steps(page):
                found = [read_delivery(row["value"]) for row in rows]
                documents = [
                    [one.id, row["value"], one.status, one.ordered_at, one.channel, one.lane,
                     redis_keys.delivery_lane(one.channel, one.lane), redis_keys.delivery_lanes(one.channel)]
                    for one, row in zip(found, rows, strict=True)
                ]  # fmt: skip
                added += int(self._add_deliveries(keys=keys, args=[json.dumps(documents, ensure_ascii=False)]))
        return added

    def licenses(self) -> int:
        """Licenses of either origin and their first answers."""
        added = 0
        for page in self._pages("rebuild_signups"):
            answers = {row["id"]: json.loads(row["answered"]) for row in page}
            partners = {name: answer.get("attribution", {}).get("partner_id") for name, answer in answers.items()}
            seen = [(row["id"], _first_answer(row["digest"], answers[row["id"]])) for row in page]
            self._add_client_licenses(page)
            added += self._add_licenses(page, partners, seen)
        for page in self._pages("rebuild_solution_licenses"):
            partners = {row["id"]: row["partner_id"] for row in page}
            seen = [(row["id"], _first_answer(row["digest"], {"license_id": row["id"]})) for row in page]
            self._add_client_licenses(page)
            self._add_solutions(page)
            added += self._add_licenses(page, partners, seen)
        return added

    def transfers(self) -> int:
        """When licenses were moved to their clients (R13)."""
        added = 0
        for page in self._pages("rebuild_transfers"):
            added += len(self._add(redis_keys.TRANSFERS, [(row["id"], str(row["transferred_at"])) for row in page]))
        return added

    def _add_client_licenses(self, page: Sequence[Mapping[str, Any]]) -> None:
        """Which e-mails have a license for which product."""
        keys = {client_license(row["product"], row["client_email_hash"]) for row in page if row["client_email_hash"]}
        self._add(redis_keys.CLIENT_LICENSES, [(name, KNOWN) for _, name in sorted(keys)])

    def _add_solutions(self, page: Sequence[Mapping[str, Any]]) -> None:
        """The state of solution licenses as far as facts tell it, where no entry did, and whose each is."""
        licenses = [_solution_license(row) for row in page]
        self._add(redis_keys.SOLUTION_LICENSES, [(one.license_id, one.text()) for one in licenses])
        for partner_id in sorted({one.partner_id for one in licenses}):
            own = [(one.license_id, str(one.created_at)) for one in licenses if one.partner_id == partner_id]
            self._add(redis_keys.solutions_of(partner_id), own)

    def _add_licenses(
        self, page: Sequence[Mapping[str, Any]], partners: Mapping[str, str | None], seen: Sequence[tuple[str, str]]
    ) -> int:
        entries = [
            (row["id"], json.dumps({"partner_id": partners[row["id"]], "data_center": row["data_center"]}))
            for row in page
        ]
        self._add(redis_keys.seen("license"), seen)
        return len(self._add(redis_keys.LICENSES, entries))

    def money(self) -> int:
        """What was paid and came back of each payment, and the first answers. Where Redis knows a payment, only
        refunds that it has not seen are added to it, because it may have others that ClickHouse has not; where it
        has lost all that it had seen, its sums are raised to ClickHouse's."""
        keys = [redis_keys.PAYMENTS, redis_keys.seen("payment"), redis_keys.seen("refund")]
        has_seen = int(self._redis.exists(redis_keys.seen("refund")))
        added = 0
        for page in self._pages("rebuild_money"):
            for rows in _steps(page):
                added += int(self._add_money(keys=keys, args=[json.dumps([_money(row) for row in rows]), has_seen]))
        return added

    def seen(self, kind: str, table: str, id_column: str) -> int:
        """The first answers to facts of one kind; see SEEN."""
        added = 0
        for page in self._pages("rebuild_seen", table=table, id=id_column):
            entries = [(row["id"], _first_answer(row["digest"], {id_column: row["id"]})) for row in page]
            added += len(self._add(redis_keys.seen(kind), entries))
        return added

    def _pages(self, query: str, **parameters: object) -> Iterator[list[dict[str, Any]]]:
        after = ""
        while True:
            page = self._warehouse.rows(QUERIES[query], after=after, page_size=PAGE_ROWS, **parameters)
            if page:
                yield page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1]["id"]

    def _add(self, hash_key: str, entries: Sequence[tuple[str, str]]) -> list[str]:
        """Set the fields that a hash does not have. Returns those."""
        added: list[str] = []
        for step in _steps(entries):
            flags = self._set_missing(keys=[hash_key], args=[text for entry in step for text in entry])
            added += [name for (name, _), flag in zip(step, flags, strict=True) if flag]
        return added

    def _merge_changes(self, hash_key: str, changes: Mapping[str, list[Any]], fresh: Mapping[str, Any]) -> int:
        """Add suspensions and reinstatements to the entries of partners; `fresh` is an entry where there is none.

        The entries are compared and swapped, because trackers change them too.
        """
        added = 0
        for step in _steps(list(changes)):
            waiting: Sequence[str] = step
            for _ in range(MAX_ATTEMPTS):
                stored: Any = self._redis.hmget(hash_key, waiting)
                wanted = {
                    name: (old, new)
                    for name, old in zip(waiting, stored, strict=True)
                    if (new := _merged(old, changes[name], fresh[name])) is not None
                }
                if not wanted:
                    break
                swaps = [[name, False if old is None else old.decode(), new] for name, (old, new) in wanted.items()]
                flags = self._replace(keys=[hash_key], args=[json.dumps(swaps, ensure_ascii=False)])
                done = [name for name, flag in zip(wanted, flags, strict=True) if flag]
                added += len(done)
                self._tell("partner", done)
                waiting = [name for name in wanted if name not in set(done)]
                if not waiting:
                    break
        return added

    def _tell(self, kind: str, keys: Iterable[str]) -> None:
        """Tell every tracker that entries are there or have changed."""
        for step in _steps(list(keys)):
            with self._redis.pipeline(transaction=False) as pipe:
                for key in step:
                    pipe.xadd(redis_keys.CHANGES, {"kind": kind, "key": key}, maxlen=CHANGES_KEPT, approximate=True)
                pipe.execute()


def _solution_license(row: Mapping[str, Any]) -> SolutionLicense:
    """As much of a solution license's state as facts tell."""
    license = SolutionLicense(
        license_id=row["id"],
        partner_id=row["partner_id"],
        product=row["product"],
        data_center=row["data_center"],
        payment_origin=row["payment_origin"],
        created_at=row["created_at"],
        email_hash=row["client_email_hash"],
        trial_days=TRIAL_DAYS if row["trial_days"] is None else row["trial_days"],
    )
    if not row["changes"]:
        return license
    change = SubscriptionChanged(
        event_id=row["change_id"],
        license_id=license.license_id,
        occurred_at=row["changed_at"],
        number=row["changes"],
        kind=row["change_kind"],
        plan=row["plan"],
        billing_cycle=row["billing_cycle"],
        seats=row["seats"],
        started_at=row["started_at"],
        closes_at=row["closes_at"],
        digest="",
    )
    return license.after(change)


def _changes(row: Mapping[str, Any]) -> list[Any]:
    return sorted([moment, event_id, kind] for moment, event_id, kind in row["changes"])


def _partner_entry(row: Mapping[str, Any], answer: Mapping[str, Any], codes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "joined_at": row["joined_at"],
        "name": row["name"],
        "email": row["email"],
        "email_hash": row["email_hash"],
        "recruiter_id": answer.get("recruiter_id"),
        "links": codes,
        "changes": [],
    }


def _merged(stored: bytes | None, changes: list[Any], fresh: Any) -> str | None:
    """An entry with all of `changes` in it; None when it has them already. Entries are lists, or have one."""
    entry = fresh if stored is None else json.loads(stored)
    known = entry if isinstance(entry, list) else entry["changes"]
    missing = [change for change in changes if change not in known]
    if stored is not None and not missing:
        return None
    merged = sorted([*known, *missing])
    return json.dumps(merged if isinstance(entry, list) else {**entry, "changes": merged}, ensure_ascii=False)


def _first_answer(digest: str, answer: Mapping[str, Any]) -> str:
    return f"{digest} {json.dumps(answer, separators=(',', ':'))}"


def _money(row: Mapping[str, Any]) -> dict[str, Any]:
    """A payment as _ADD_MONEY takes it."""
    is_known = row["paid_cents"] is not None
    return {
        "id": row["id"],
        "paid": row["paid_cents"] if is_known else False,
        "answer": _first_answer(row["digest"], {"payment_id": row["id"]}) if is_known else False,
        "refunds": [
            [refund_id, kind, cents, _first_answer(digest, {"refund_id": refund_id})]
            for refund_id, kind, cents, digest in row["refunds"]
        ],
    }


def _steps(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + STEP_ROWS] for start in range(0, len(rows), STEP_ROWS))


# KEYS: a hash. ARGV: field, value, field, value, … Answers 1 per field that was missing, else 0.
_SET_MISSING = """
local answers = {}
for i = 1, #ARGV, 2 do
  answers[#answers + 1] = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
return answers
"""

# KEYS: a hash. ARGV: JSON list of [field, value that it has or false, new value]. Answers 1 per field that was set.
_REPLACE = """
local answers = {}
for i, swap in ipairs(cjson.decode(ARGV[1])) do
  answers[i] = 0
  if redis.call('HGET', KEYS[1], swap[1]) == swap[2] then
    redis.call('HSET', KEYS[1], swap[1], swap[3])
    answers[i] = 1
  end
end
return answers
"""

# KEYS: a counter. ARGV: what it must be at least.
_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
end
"""

# KEYS: a hash of counters. ARGV: the field, and what it must be at least.
_RAISE_IN_HASH = """
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
"""

# KEYS: payments, seen payments, seen refunds. ARGV: JSON list of
#   {"id", "paid": cents or false, "answer": text or false, "refunds": [[refund id, kind, cents, answer], …]}
# and 1 unless the seen refunds were lost.
# Answers how many payments' entries were missing or changed.
_ADD_MONEY = """
local changed, has_seen = 0, ARGV[2] == '1'
for _, money in ipairs(cjson.decode(ARGV[1])) do
  local stored = redis.call('HGET', KEYS[1], money.id)
  local paid, sums = '', {refund = 0, chargeback = 0, chargeback_won = 0}
  if stored then
    local refund, chargeback, won
    paid, refund, chargeback, won = string.match(stored, '^([^,]*),([^,]*),([^,]*),([^,]*)$')
    sums = {refund = tonumber(refund), chargeback = tonumber(chargeback), chargeback_won = tonumber(won)}
  end
  if money.paid and paid == '' then
    paid = string.format('%.0f', money.paid)
  end
  if money.answer then
    redis.call('HSETNX', KEYS[2], money.id, money.answer)
  end
  local all = {refund = 0, chargeback = 0, chargeback_won = 0}
  for _, back in ipairs(money.refunds) do
    local is_new = redis.call('HSETNX', KEYS[3], back[1], back[4]) == 1
    all[back[2]] = all[back[2]] + back[3]
    if is_new and has_seen then
      sums[back[2]] = sums[back[2]] + back[3]
    end
  end
  if not stored or not has_seen then
    for kind, cents in pairs(all) do
      sums[kind] = math.max(sums[kind], cents)
    end
  end
  local text = string.format('%s,%.0f,%.0f,%.0f', paid, sums.refund, sums.chargeback, sums.chargeback_won)
  if text ~= stored then
    redis.call('HSET', KEYS[1], money.id, text)
    changed = changed + 1
  end
end
return changed
"""

# KEYS: deliveries, deliveries by time, done ones, how many wait. ARGV: JSON list of
#   [id, text, status, ordered at, channel, lane, its queue, the channel's lanes], oldest first; all share their slot.
# Answers how many were missing.
_ADD_DELIVERIES = f"""{INTO_LANE}
local added = 0
for _, one in ipairs(cjson.decode(ARGV[1])) do
  if redis.call('HSETNX', KEYS[1], one[1], one[2]) == 1 then
    redis.call('ZADD', KEYS[2], one[4], one[1])
    if one[3] == 'waiting' then
      into_lane(one[7], one[1])
      redis.call('HINCRBY', KEYS[4], one[5], 1)
      redis.call('ZADD', one[8], 'NX', 0, one[6])
    else
      redis.call('LPUSH', KEYS[3], one[1])
    end
    added = added + 1
  end
end
return added
"""
