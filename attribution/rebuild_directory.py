"""Puts what the directory in Redis has lost back from ClickHouse, in pages, while trackers go on working.

What Redis has is newer than ClickHouse and is left as it is; only what is missing is added. The formats are the
tracker's (tracker/redis_keys.py), byte for byte, so that a directory that is intact stays equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis

from attribution.fence import Scripts, unfenced
from attribution.missing_entries import MAX_ATTEMPTS, MissingEntries
from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.delivery import DONE_KEPT, KIND, read_delivery
from tracker.events import SubscriptionChanged
from tracker.solutions import KNOWN, TRIAL_DAYS, SolutionLicense, client_license
from tracker.tokens import token_lists

PAGE_ROWS = 5_000

SEEN = (
    ("license_event", "license_events", "event_id"),
    ("partner_event", "partner_events", "event_id"),
    ("license_transfer", "license_transfers", "event_id"),
)
"""Kinds of facts whose first answer is their id alone: name space, table, id column."""


class DirectoryRebuild:
    """Each method adds what one kind of facts tells, and returns how many entries were missing."""

    def __init__(self, client: redis.Redis, warehouse: Warehouse, scripts: Scripts = unfenced) -> None:
        """`client` must give bytes."""
        self._redis = client
        self._warehouse = warehouse
        self._entries = MissingEntries(client, scripts)

    def partners(self) -> int:
        """Partners, their e-mails, links, suspensions and first answers."""
        added = 0
        for page in self._pages("rebuild_partners"):
            answers = {row["id"]: json.loads(row["answered"]) for row in page}
            codes = {row["id"]: json.loads(row["links"]) for row in page}
            added += self._entries.merge_changes(
                redis_keys.PARTNERS, {row["id"]: _changes(row) for row in page},
                {row["id"]: _partner_entry(row, answers[row["id"]], codes[row["id"]]) for row in page},
            )  # fmt: skip
            self._entries.add(
                redis_keys.PARTNER_EMAILS, [(row["email_hash"], row["id"]) for row in page if row["email_hash"]]
            )
            links = [
                (code, json.dumps({"partner_id": name, "product": product, "campaign": "", "landing_url": ""}))
                for name, by_product in codes.items()
                for product, code in by_product.items()
            ]
            self._entries.tell("link", self._entries.add(redis_keys.LINKS, links))
            seen = [(row["id"], _first_answer(row["digest"], answers[row["id"]])) for row in page]
            self._entries.add(redis_keys.seen("partner"), seen)
        return added

    def early_changes(self) -> int:
        """Suspensions and reinstatements of partners whose join is not known."""
        added = 0
        for page in self._pages("rebuild_early_changes"):
            changes = {row["id"]: _changes(row) for row in page}
            added += self._entries.merge_changes(redis_keys.EARLY_CHANGES, changes, {name: [] for name in changes})
        return added

    def tokens(self) -> int:
        """Tokens; those that were revoked go, should an older state of Redis still have them."""
        added, greatest = 0, 0
        for page in self._pages("rebuild_directory_entries", kind="token"):
            valid = [(row["id"], row["value"], row["written_at"]) for row in page if row["value"]]
            revoked = [row["id"] for row in page if not row["value"]]
            added += len(self._entries.add_kept("token", valid))
            if revoked:
                self._redis.hdel(redis_keys.TOKENS, *revoked)
            greatest = max(greatest, *(int(json.loads(value)["id"]) for _, value, _ in valid), 0)
        self._entries.raise_counter(redis_keys.TOKEN_COUNTER, greatest)
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
            if all(self._entries.replace(redis_keys.TOKEN_LISTS, swaps)):
                return

    def state(self, kind: str) -> int:
        """Partners' own state of one kind of redis_keys.KEPT. Its links are those that no join brought."""
        added, greatest = 0, 0
        for page in self._pages("rebuild_directory_entries", kind=kind):
            kept = [(row["id"], row["value"], row["written_at"]) for row in page if row["value"]]
            missing = self._entries.add_kept(kind, kept)
            self._entries.tell(kind, missing)
            added += len(missing)
            if kind in redis_keys.NUMBERED:
                greatest = max(greatest, *(int(row["id"]) for row in page))
        if greatest:
            self._entries.raise_counter_in(redis_keys.COUNTERS, kind, greatest)
        return added

    def deliveries(self) -> int:
        """Deliveries that wait, each in its place in its lane, due now; and the newest that are done, for the log.

        One whose end ClickHouse has not heard of is made again, under the same id.
        """
        return sum(
            self._entries.add_deliveries([(read_delivery(row["value"]), row["value"]) for row in page])
            for page in self._pages("rebuild_deliveries", kind=KIND, done_kept=DONE_KEPT)
        )

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
            added += len(
                self._entries.add(redis_keys.TRANSFERS, [(row["id"], str(row["transferred_at"])) for row in page])
            )
        return added

    def _add_client_licenses(self, page: Sequence[Mapping[str, Any]]) -> None:
        """Which e-mails have a license for which product."""
        keys = {client_license(row["product"], row["client_email_hash"]) for row in page if row["client_email_hash"]}
        self._entries.add(redis_keys.CLIENT_LICENSES, [(name, KNOWN) for _, name in sorted(keys)])

    def _add_solutions(self, page: Sequence[Mapping[str, Any]]) -> None:
        """The state of solution licenses as far as facts tell it, where no entry did, and whose each is."""
        licenses = [_solution_license(row) for row in page]
        self._entries.add(redis_keys.SOLUTION_LICENSES, [(one.license_id, one.text()) for one in licenses])
        for partner_id in sorted({one.partner_id for one in licenses}):
            own = [(one.license_id, str(one.created_at)) for one in licenses if one.partner_id == partner_id]
            self._entries.add(redis_keys.solutions_of(partner_id), own)

    def _add_licenses(
        self, page: Sequence[Mapping[str, Any]], partners: Mapping[str, str | None], seen: Sequence[tuple[str, str]]
    ) -> int:
        entries = [
            (row["id"], json.dumps({"partner_id": partners[row["id"]], "data_center": row["data_center"]}))
            for row in page
        ]
        self._entries.add(redis_keys.seen("license"), seen)
        return len(self._entries.add(redis_keys.LICENSES, entries))

    def money(self) -> int:
        """What was paid and came back of each payment, and the first answers. Where Redis knows a payment, only
        refunds that it has not seen are added to it, because it may have others that ClickHouse has not; where it
        has lost all that it had seen, its sums are raised to ClickHouse's."""
        has_seen = bool(self._redis.exists(redis_keys.seen("refund")))
        return sum(
            self._entries.add_money([_money(row) for row in page], has_seen) for page in self._pages("rebuild_money")
        )

    def seen(self, kind: str, table: str, id_column: str) -> int:
        """The first answers to facts of one kind; see SEEN."""
        added = 0
        for page in self._pages("rebuild_seen", table=table, id=id_column):
            entries = [(row["id"], _first_answer(row["digest"], {id_column: row["id"]})) for row in page]
            added += len(self._entries.add(redis_keys.seen(kind), entries))
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


def _first_answer(digest: str, answer: Mapping[str, Any]) -> str:
    return f"{digest} {json.dumps(answer, separators=(',', ':'))}"


def _money(row: Mapping[str, Any]) -> dict[str, Any]:
    """A payment as MissingEntries takes it."""
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
