"""Every Redis key, in one place, made for a Redis Cluster from the first day.

Touches and click streams live in shards by visitor (`{c7}:…`), the directory in one slot (`{dir}:…`).
A key of a shard may only be used together with keys of the same shard.
"""

from __future__ import annotations

from collections.abc import Mapping

SHARDS = 8
_SHARD_OF_DIGIT = {digit: int(digit, 16) % SHARDS for digit in "0123456789abcdef"}


def shard_of(visitor_or_click_id: str) -> int:
    """The shard of a visitor (of a click id where there is no visitor), 0 to SHARDS - 1. Takes a UUID's text."""
    return _SHARD_OF_DIGIT[visitor_or_click_id[-1]]


def click_journal(shard: int) -> str:
    """Stream of click batches. Entry fields: `clicks`, TabSeparated lines of CLICK_COLUMNS; `n`, how many."""
    return f"{{c{shard}}}:journal"


def click_counts(shard: int) -> str:
    """Hash with `accepted`: clicks ever appended to the shard's journal."""
    return f"{{c{shard}}}:counts"


JOURNAL = "{dir}:clicks"
"""Hash: `accepted`, clicks ever appended to the journals of all shards; `loaded`, how many of them are in ClickHouse;
`full`, set from the moment when as many wait as may until there is room again (journal_bound.py)."""


def touches(visitor_id: str) -> str:
    """String: a visitor's newest human clicks, newest first, one a line (see journal.py), kept for the window."""
    return touches_of_shard(shard_of(visitor_id)) + visitor_id


def touches_of_shard(shard: int) -> str:
    """What all keys of touches in a shard begin with; the visitor's id follows."""
    return f"{{c{shard}}}:touch:"


def stamp_claim(visitor_id: str, stamp: str, host: str) -> str:
    """String: which browser a stamp made its visitor on a site (claims.py), kept for as long as stamps live."""
    return f"{{c{shard_of(visitor_id)}}}:stamp:{stamp}:{host}"


def seen_clicks(shard: int, bucket: str) -> str:
    """Hash of imported click ids → digest, in buckets small enough to be stored compactly."""
    return f"{{c{shard}}}:seen:{bucket}"


FACT_JOURNAL = "{dir}:journal"
"""Stream of all other facts. Entry fields: `facts`, JSON lines with `type`; `n`, how many; and, not counted,
`entries`, JSON lines `{"kind", "key", "value", "written_at"}` of directory changes that are not facts."""

FACT_COUNTS = "{dir}:counts"
"""Hash with `accepted`: facts ever appended to FACT_JOURNAL; and `loaded`: how many of them are in ClickHouse."""

CHANGES = "{dir}:changes"
"""Stream that tells every process which directory entry changed. Entry fields: `kind` (partner, link, token), `key`; or
`kind` all with an empty `key`: read everything."""

COMPLETE = "{dir}:complete"
"""Set by attribution while the directory has all that ClickHouse knows: what it lacks does not exist. Without it the
directory may have been lost, and not been rebuilt yet."""

REBUILDING = "{dir}:rebuilding"
"""String: a word of the rebuild that is under way. When it is gone at the end, Redis was emptied in between."""

PARTNERS = "{dir}:partners"
"""Hash: Partner ID → JSON `{"joined_at", "name", "email", "email_hash", "recruiter_id", "links", "changes"}`."""

PARTNER_EMAILS = "{dir}:emails"
"""Hash: keyed hash of an e-mail → Partner ID."""

LINKS = "{dir}:links"
"""Hash: short code → JSON `{"partner_id", "product", "campaign", "landing_url"}`."""

LICENSES = "{dir}:licenses"
"""Hash: license id → JSON `{"partner_id", "data_center"}`; that the license is known."""

PAYMENTS = "{dir}:payments"
"""Hash: payment id → `amount,refunded,charged_back,won_back` in cents, for the check on reversals."""

TOKENS = "{dir}:tokens"
"""Hash: SHA-256 of a token, hex → JSON `{"id", "scope", "partner_id", "label", "created_at"}` and, where it
has them, `expires_at` and `ending`."""

TOKEN_COUNTER = "{dir}:token-counter"

TOKEN_LISTS = "{dir}:token-lists"
"""Hash: scope and Partner ID, apart by a blank → JSON list of the hashes of their tokens, oldest first; made from
TOKENS where it is missing. Every change of such tokens expects it unchanged, so that labels stay unique."""

TOKEN_USES = "{dir}:token-uses"
"""Hash: SHA-256 of a token, hex → when it was used last, in ms, to the minute. Redis only: a rebuild forgets it."""

PROFILES = "{dir}:profiles"
"""Hash: Partner ID → JSON of what the partner changed of their profile."""

BILLING = "{dir}:billing"
"""Hash: Partner ID → JSON of the details that payouts are billed to."""

CAMPAIGNS = "{dir}:campaigns"
"""Hash: number → JSON of a campaign (campaigns.py)."""

CAMPAIGN_LISTS = "{dir}:campaign-lists"
"""Hash: Partner ID → JSON object: slug → number and name of each campaign of theirs, oldest first."""

DEALS = "{dir}:deals"
"""Hash: Partner ID and slug, apart by a blank → JSON `{"trial_days", "coupon_id", "until"}` of a campaign with a deal;
`until` is when it was switched off, or null."""

WITHDRAWALS = "{dir}:withdrawals"
"""Hash: number → JSON `{"partner_id", "requested_at", "settled_at", "status", "amount_cents", "invoice_id",
"paypal"}`."""

WITHDRAWAL_LISTS = "{dir}:withdrawal-lists"
"""Hash: Partner ID → JSON list of the numbers of their withdrawals, oldest first. Every request and settlement of a
partner's withdrawals expects it unchanged, so that they happen one after the other."""

WITHDRAWALS_WAITING = "{dir}:withdrawals-waiting"
"""Hash: number → Partner ID, of the withdrawals that finance has not settled."""

ORGANIZATIONS = "{dir}:organizations"
"""Hash: organization id → JSON of its state (solutions.py), without anything personal."""

SOLUTION_LICENSES = "{dir}:solution-licenses"
"""Hash: license id → JSON of a solution license's state (solutions.py), without anything personal."""


def solutions_of(partner_id: str) -> str:
    """Hash: license id → when it was created, in ms, of a partner's solution licenses."""
    return f"{{dir}}:solutions-of:{partner_id}"


CLIENT_LICENSES = "{dir}:client-licenses"
"""Hash: product and keyed hash of a client's e-mail, apart by a blank → license id. One of each product (R5)."""

TRANSFERS = "{dir}:transfers"
"""Hash: license id → when it was moved to its client (R13), in ms: the first time."""

CLIENT_RENAMES = "{dir}:client-renames"
"""Hash: license id → a word of the newest change of its client's record. Every change of a record expects it unchanged,
so that none undoes another. Redis only: nobody reads it later."""

CLIENT_ENTRIES = "{dir}:client-entries"
"""Hash: `<type>:<key>` of a client's record → the id of the newest entry of its data center's stream that holds it.
While the entry is there, the record is read from it; then it is in the data center's store."""

DELIVERIES = "{dir}:deliveries"
"""Hash: id of a delivery → JSON (delivery.py), without anything personal. All that wait, and the newest done ones. What
was ordered and what became of it is kept in ClickHouse too (delivery.KIND)."""

DELIVERIES_BY_TIME = "{dir}:deliveries-by-time"
"""Sorted set: id of a delivery by when it was ordered, in ms."""

DELIVERIES_DONE = "{dir}:deliveries-done"
"""List: ids of deliveries that were taken or given up, newest first."""

DELIVERIES_WAITING = "{dir}:deliveries-waiting"
"""Hash: channel → how many of its deliveries wait."""


def delivery_lane(channel: str, lane: str) -> str:
    """List: ids of the deliveries of a lane that wait, oldest first. They are made one after the other."""
    return f"{{dir}}:delivery-lane:{channel}:{lane}"


def delivery_lanes(channel: str) -> str:
    """Sorted set: lanes of a channel in which something waits, by when the first of it is due, in ms."""
    return f"{{dir}}:delivery-lanes:{channel}"


PROVISIONING_GONE = "{dir}:provisioning-gone"
"""String: the webhook's URL, where it answered 410 Gone: nothing is sent there until an administrator says so."""

COUNTERS = "{dir}:counters"
"""Hash: kind → the newest number that was given to a thing of that kind."""

KEPT: Mapping[str, str] = {
    "token": TOKENS,
    "link": LINKS,
    "campaign": CAMPAIGNS,
    "campaign-list": CAMPAIGN_LISTS,
    "deal": DEALS,
    "profile": PROFILES,
    "billing": BILLING,
    "withdrawal": WITHDRAWALS,
    "withdrawal-list": WITHDRAWAL_LISTS,
    "withdrawal-waiting": WITHDRAWALS_WAITING,
    "organization": ORGANIZATIONS,
    "solution-license": SOLUTION_LICENSES,
}
"""Partners' own state, which is no fact of the rules: kind of directory entry → hash. ClickHouse keeps its newest
values (table `directory_entries`), and a rebuild restores every hash that is listed here."""

NUMBERED = ("campaign", "withdrawal")
"""Kinds of KEPT whose fields are numbers from COUNTERS."""

SECRET = "{dir}:secret"
"""String: the program's secret, hex. Keys the stamps and the hashes of e-mails."""

PROGRESS = "{dir}:progress"
"""Hash that attribution writes: `stored`, `duplicates`, `quarantined` (sums over all time) and `attributed`:
how many accepted facts are in the ledger's and reports' results; and `settled`: the round whose results are current and
a word of its publishing, apart by a blank, away while a round is published (attribution/publication.py)."""

ATTRIBUTION = "{dir}:attribution"
"""String: who loads and attributes; it goes by itself when it is not renewed (attribution/lease.py)."""


def seen(kind: str) -> str:
    """Hash: id of a fact → digest of its body and the first answer, `digest answer`. Signups and solution
    licenses share the kind `license`, for license ids are unique in the whole program."""
    return f"{{dir}}:seen:{kind}"


def client_journal(data_center: str) -> str:
    """Stream of clients' personal data bound for one data center. Entry field: `clients`, JSON lines."""
    return f"{{dir}}:clients:{data_center}"


def token_calls(token_id: int, minute: int) -> str:
    """Counter: how many calls a partner's token has made in a minute (of those since 1970), until that is long over."""
    return f"{{dir}}:calls:{token_id}:{minute}"


DEMO = "{dir}:demo"
"""Set while the facts are those of the example program; the pages then say so."""


def sign_in_link(key_hash: str) -> str:
    """String: whom a single-use sign-in link signs in, under the SHA-256 of its key, until it expires."""
    return f"{{dir}}:sign-in:{key_hash}"


def sign_in_asked(email_hash: str) -> str:
    """Counter: how often a sign-in link was asked for an e-mail lately."""
    return f"{{dir}}:sign-in-asked:{email_hash}"


def signed_out(session_id: str) -> str:
    """String: a session that was ended before its time."""
    return f"{{dir}}:signed-out:{session_id}"


EARLY_CHANGES = "{dir}:early-changes"
"""Hash: Partner ID → JSON list like a partner's `changes`, for partners whose join is not known yet."""
