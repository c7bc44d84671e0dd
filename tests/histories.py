"""Random histories of a small partner program, made so that things collide.

Few partners, visitors and licenses; times on a coarse grid around the edges of the 120-day window. Ids order
differently as text and as ClickHouse orders UUIDs. A history knows the plain e-mails behind its hashes, so that the
same facts can go straight into the journal or through the HTTP import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, zip_longest
from typing import Any

from hypothesis import strategies as st

from tests.reference import AnyFact
from tracker.events import (
    Clicked,
    LicenseChanged,
    LicenseTransferred,
    Paid,
    PartnerChanged,
    PartnerJoined,
    Refunded,
    SignedUp,
    SolutionLicenseCreated,
)
from tracker.secret import canonical_email, email_hash

SECRET = b"the secret of the tests"
DAY = 86_400_000
START = int(datetime(2025, 1, 6, 12, tzinfo=UTC).timestamp() * 1000)

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

VERDICTS = (*["human"] * 6, "bot", "prefetch", "head", "opted-out")  # an import tells the first two apart by itself
SOURCES = ("redirect", "touch", "import")
PARTNERS = ("A", "B", "C", "D")
NEVER_JOINS = "ghost"
VISITORS = 2
MAX_BATCHES = 5


@dataclass(frozen=True)
class History:
    """Facts as they arrive: batches in order, with repeats. `emails` has the plain e-mail of every hash; `parts` are
    the histories that a merged one was made of."""

    batches: tuple[tuple[AnyFact, ...], ...]
    emails: dict[str, str]
    parts: tuple[History, ...] = ()

    @property
    def facts(self) -> list[AnyFact]:
        return [fact for batch in self.batches for fact in batch]

    def __repr__(self) -> str:
        lines = []
        for number, batch in enumerate(self.batches, 1):
            lines.append(f"batch {number}:")
            lines.extend(f"  {readable(fact)}" for fact in batch)
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis prints it."""
        printer.text(repr(self))

    def without(self, batch: int, place: int) -> History:
        """The history without one of its facts."""
        left = [list(facts) for facts in self.batches]
        del left[batch][place]
        return History(tuple(tuple(facts) for facts in left), self.emails)


def reduced(history: History, fails: Callable[[History], bool]) -> History:
    """A smaller history that still fails: one of its parts, then without every fact that can go, from the end."""
    history = next((part for part in history.parts if fails(part)), history)
    for batch in reversed(range(len(history.batches))):
        for place in reversed(range(len(history.batches[batch]))):
            smaller = history.without(batch, place)
            if fails(smaller):
                history = smaller
    return history


def moment_text(moment: int) -> str:
    """`moment` as days and milliseconds since START, for people: `day 31`, `day 120 +1 ms`."""
    days, rest = divmod(moment - START + DAY // 2, DAY)
    rest -= DAY // 2
    return f"day {days}" + (f" {rest:+d} ms" if rest else "")


_UNREAD = ("type", "digest", "links", "answered", "name", "currency", "data_center", "user_agent", "source", "email")


def readable(fact: AnyFact) -> str:
    """One line with what matters of a fact."""
    shown = []
    for name in fact.__dataclass_fields__:
        value = getattr(fact, name)
        if value in (None, "", "{}") or name in _UNREAD:
            continue
        shown.append(f"{name}={moment_text(value) if name.endswith('_at') or name == 'until' else value}")
    return f"{fact.type}: {', '.join(shown)}"


class Namespace:
    """Makes the ids of one history, apart from every other history's by `number`.

    A namespace sits in the middle of each id, so that ids of one history keep the order that was drawn.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def uuid(self, high: int, low: int) -> str:
        """A canonical UUID: as text it orders by `high`, as ClickHouse's UUID type by `low`."""
        return f"{high:04x}{self.number >> 16 & 0xFFFF:04x}-{self.number & 0xFFFF:04x}-4000-8000-{low:012x}"

    def id(self, text: str) -> str:
        return f"{text}.{self.number}" if text else ""

    def email(self, local: str) -> str:
        return f"{local}.{self.number}@example.com"


def times_of(*days: int) -> st.SearchStrategy[int]:
    """One of `days`, often exactly, else a millisecond beside it."""
    return st.builds(
        lambda day, jitter: START + day * DAY + jitter,
        st.sampled_from(days),
        st.sampled_from((0, 0, 0, 0, -1, 1)),
    )


# Joins lean to the start, signups to the end, so that much happens; every pair of pools is 120 days apart somewhere.
times = times_of(0, 1, 2, 60, 119, 120, 121, 122, 181, 240, 241)
join_times = times_of(0, 0, 0, 0, 0, 1, 2, 121)
click_times = times_of(1, 1, 2, 2, 60, 119, 120, 121, 122)
start_times = times_of(2, 60, 120, 121, 121, 122, 122, 181, 240, 241)
amounts = st.sampled_from((2900, 1, 2, 3, 10, 50, 1990, 1970, 2320, 2900, 99_999)) | st.integers(100, 5000)
percents = st.sampled_from((0, 1, 500, 1250, 2000, 3333, 10_000))


@st.composite
def histories(draw: st.DrawFn, number: int = 0, *, through_api: bool) -> History:
    """A history in namespace `number`. Only what goes `through_api` is free of what the API never lets in: two
    partners of one e-mail, and clicks that are not imported."""
    drawing = _Drawing(draw, Namespace(number), through_api)
    facts: list[AnyFact] = [
        *drawing.partners(),
        *drawing.clicks(),
        *drawing.licenses(),
        *drawing.partner_changes(),
        *drawing.payments_and_refunds(),
        *drawing.license_changes(),
        *drawing.transfers(),
    ]
    late = drawing.late_clicks(facts)
    repeats = draw(st.lists(st.sampled_from(facts), max_size=4)) if facts else []
    arrival = [*(draw(st.permutations(facts + repeats)) if draw(st.booleans()) else facts + repeats), *late]
    cuts = sorted(draw(st.lists(st.integers(0, len(arrival)), max_size=MAX_BATCHES - 1, unique=True)))
    if late:  # what they change was decided before
        cuts = sorted({*cuts[: MAX_BATCHES - 2], len(arrival) - len(late)})
    edges = [0, *cuts, len(arrival)]
    batches = tuple(tuple(arrival[a:b]) for a, b in pairwise(edges) if b > a)
    return History(batches, drawing.emails)


def merged(parts: Sequence[History]) -> History:
    """Several histories that share nothing, side by side: batch by batch as one."""
    batches = zip_longest(*(history.batches for history in parts), fillvalue=())
    return History(
        tuple(tuple(fact for part in arriving for fact in part) for arriving in batches),
        {hashed: email for history in parts for hashed, email in history.emails.items()},
        tuple(parts),
    )


@st.composite
def merged_histories(draw: st.DrawFn, number: int = 0, *, at_most: int = 6, through_api: bool) -> History:
    """Several histories side by side, drawn as one example. `number` sets them apart from other draws."""
    count = draw(st.sampled_from([1, *[at_most] * 9]))  # shrinks to one
    return merged([draw(histories(number * at_most + index, through_api=through_api)) for index in range(count)])


class _Drawing:
    """Draws the facts of one history."""

    def __init__(self, draw: st.DrawFn, namespace: Namespace, through_api: bool) -> None:
        self.draw = draw
        self.ns = namespace
        self.through_api = through_api
        self.emails: dict[str, str] = {"": ""}
        self.likely_recruited: list[str] = []
        """Partners who say who sent them."""
        self.moments = draw(st.lists(times, min_size=2, max_size=3))
        self.license_ids = [namespace.id(f"L{i}") for i in range(draw(st.integers(2, 4)))]
        self.visitors = [namespace.uuid(0xE000 - i, 0xA + 5 * i) for i in range(VISITORS)]

    def moment(self) -> int:
        """When something happens after joins, clicks and signups: mostly one of few moments, so that they coincide."""
        return self.draw(st.sampled_from([*self.moments * 2, None])) or self.draw(times)

    def visitor(self) -> str | None:
        return self.draw(st.sampled_from([*self.visitors, *self.visitors, *self.visitors, None]))

    def partner(self) -> str:
        return self.ns.id(self.draw(st.sampled_from([*PARTNERS, *PARTNERS, NEVER_JOINS])))

    def hint(self) -> str:
        return self.ns.id(self.draw(st.sampled_from(["", *PARTNERS, *PARTNERS, NEVER_JOINS])))

    def hashed(self, local: str) -> str:
        """The hash of an e-mail, remembered."""
        if not local:
            return ""
        email = self.ns.email(local)
        hashed = email_hash(SECRET, email)
        self.emails[hashed] = canonical_email(email)
        return hashed

    def client_email(self) -> str:
        """A client's e-mail: now and then a partner's own."""
        return self.hashed(self.draw(st.sampled_from(["", *["client"] * 7, *PARTNERS])))

    def partners(self) -> list[AnyFact]:
        joining = self.draw(st.lists(st.sampled_from(PARTNERS), min_size=3, max_size=4, unique=True))
        facts: list[AnyFact] = []
        for name in joining:
            hint = self.hint()
            if hint:
                self.likely_recruited.append(self.ns.id(name))
            email = name if self.through_api else self.draw(st.sampled_from([*[name] * 6, *PARTNERS]))
            facts.append(
                PartnerJoined(
                    partner_id=self.ns.id(name),
                    joined_at=self.draw(join_times),
                    name=f"Partner {name}",
                    email=self.ns.email(email),
                    email_hash=self.hashed(email),
                    visitor_id=self.visitor(),
                    recruiter_hint=hint,
                    digest="",
                )
            )
        return facts

    def clicks(self) -> list[AnyFact]:
        keys = self.draw(
            st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=10, unique=True)
        )
        facts: list[AnyFact] = []
        for high, low in keys:
            verdict = self.draw(st.sampled_from(VERDICTS[:7] if self.through_api else VERDICTS))
            facts.append(
                Clicked(
                    click_id=self.ns.uuid(high, low),
                    clicked_at=self.draw(click_times),
                    visitor_id=None if verdict == "opted-out" else self.draw(st.sampled_from(self.visitors)),
                    partner_id=self.partner(),
                    product=self.draw(st.sampled_from(["livechat", "partner_program"])),
                    campaign=self.draw(st.sampled_from(["", "pp_spring"])),
                    verdict=verdict,
                    source="import" if self.through_api else self.draw(st.sampled_from(SOURCES)),
                    user_agent=BROWSER if verdict == "human" else CRAWLER,
                )
            )
        return facts

    def late_clicks(self, facts: Sequence[AnyFact]) -> list[AnyFact]:
        """Clicks right before signups and joins, which come after all else (R16)."""
        late: list[AnyFact] = []
        for fact in facts:
            if not isinstance(fact, SignedUp | PartnerJoined) or fact.visitor_id is None or self.draw(st.booleans()):
                continue
            brought_at = fact.signed_up_at if isinstance(fact, SignedUp) else fact.joined_at
            late.append(
                Clicked(
                    click_id=self.ns.uuid(self.draw(st.integers(0, 9)), 0x10 + len(late)),
                    clicked_at=brought_at - self.draw(st.sampled_from((0, 0, 1, DAY))),
                    visitor_id=fact.visitor_id,
                    partner_id=self.partner(),
                    product="livechat",
                    source="import",
                    user_agent=BROWSER,
                )
            )
        return late if self.draw(st.booleans()) else []

    def licenses(self) -> list[AnyFact]:
        """Each license signed up, created by a partner, or never to be known."""
        facts: list[AnyFact] = []
        for license_id in self.license_ids:
            kind = self.draw(st.sampled_from(["signup", "signup", "signup", "solution", "solution", "unknown"]))
            if kind == "signup":
                facts.append(self.signup(license_id))
            elif kind == "solution":
                facts.append(self.solution_license(license_id))
        return facts

    def signup(self, license_id: str) -> SignedUp:
        return SignedUp(
            license_id=license_id,
            signed_up_at=self.draw(start_times),
            product="livechat",
            visitor_id=self.visitor(),
            partner_hint=self.hint(),
            client_email_hash=self.client_email(),
            data_center="us-south1",
            trial_days=self.draw(st.sampled_from((None, None, None, 0, 30))),
            digest="",
        )

    def solution_license(self, license_id: str) -> SolutionLicenseCreated:
        return SolutionLicenseCreated(
            license_id=license_id,
            created_at=self.draw(start_times),
            product="livechat",
            partner_id=self.partner(),
            payment_origin=self.draw(st.sampled_from(["client", "partner", "partner"])),
            client_email_hash=self.client_email(),
            data_center="us-south1",
            digest="",
        )

    def partner_changes(self) -> list[AnyFact]:
        """Suspensions, reinstatements and rates, also of partners who never join."""
        facts: list[AnyFact] = []
        suspended = [*self.likely_recruited * 3, *map(self.ns.id, (*PARTNERS, NEVER_JOINS))]
        kinds = ["suspended", "suspended", "reinstated", "rate_changed", "rate_changed"]
        for index in range(self.draw(st.integers(2, 6))):
            kind = self.draw(st.sampled_from(kinds))
            at = self.moment()
            rates: dict[str, int | None] = {}
            if kind == "rate_changed":
                ends = [None, at + 1, at + 119 * DAY, *(moment for moment in self.moments if moment > at)]
                rates = {
                    "first_tier_percent_hundredths": self.draw(percents),
                    "second_tier_percent_hundredths": self.draw(percents),
                    "until": self.draw(st.sampled_from(ends)),
                }
            facts.append(
                PartnerChanged(
                    event_id=self.ns.id(f"pe{index}"),
                    partner_id=self.partner() if kind != "suspended" else self.draw(st.sampled_from(suspended)),
                    occurred_at=at,
                    kind=kind,
                    digest="",
                    **rates,
                )
            )
        return facts

    def payments_and_refunds(self) -> list[AnyFact]:
        """Payments and what came back of them; the last payment id is refunded but never paid."""
        facts: list[AnyFact] = []
        count = self.draw(st.integers(2, 5))
        paid_cents: list[int] = []
        for index in range(count):
            paid_cents.append(self.draw(amounts))
            facts.append(
                Paid(
                    payment_id=self.ns.id(f"p{index}"),
                    license_id=self.draw(st.sampled_from(self.license_ids)),
                    paid_at=self.moment(),
                    amount_cents=paid_cents[-1],
                    currency="USD",
                    discount_cents=self.draw(st.sampled_from((None, None, None, 0, 123))),
                    billing_cycle=self.draw(st.sampled_from(("", "", "monthly", "annual"))),
                    digest="",
                )
            )
        for index in range(self.draw(st.integers(1, 6))):
            payment = self.draw(st.integers(0, count))
            all_of_it = paid_cents[payment : payment + 1] * 2
            facts.append(
                Refunded(
                    refund_id=self.ns.id(f"r{index}"),
                    payment_id=self.ns.id(f"p{payment}"),
                    refunded_at=self.moment(),
                    amount_cents=self.draw(st.sampled_from([*all_of_it, None])) or self.draw(amounts),
                    kind=self.draw(st.sampled_from(["refund", "chargeback", "chargeback", "chargeback_won"])),
                    digest="",
                )
            )
        return facts

    def license_changes(self) -> list[AnyFact]:
        kinds = ["qualified", "card_added", "expired", "blocked", "unblocked"]
        return [
            LicenseChanged(
                event_id=self.ns.id(f"le{index}"),
                license_id=self.draw(st.sampled_from(self.license_ids)),
                occurred_at=self.moment(),
                kind=self.draw(st.sampled_from(kinds)),
                digest="",
            )
            for index in range(self.draw(st.integers(0, 3)))
        ]

    def transfers(self) -> list[AnyFact]:
        return [
            LicenseTransferred(
                event_id=self.ns.id(f"t{index}"),
                license_id=self.draw(st.sampled_from(self.license_ids)),
                occurred_at=self.moment(),
                digest="",
            )
            for index in range(self.draw(st.integers(1, 3)))
        ]


def rfc3339(moment: int) -> str:
    """Milliseconds since 1970 as the contract writes times."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{moment % 1000:03d}Z"


def import_line(fact: AnyFact, emails: dict[str, str]) -> dict[str, Any]:
    """A fact as a line of `POST /v1/import`, without what is not given."""
    line: dict[str, Any]
    match fact:
        case Clicked():
            line = {
                "click_id": fact.click_id,
                "clicked_at": rfc3339(fact.clicked_at),
                "visitor_id": fact.visitor_id,
                "partner_id": fact.partner_id,
                "product": fact.product,
                "campaign": fact.campaign,
                "user_agent": fact.user_agent,
            }
        case PartnerJoined():
            line = {
                "partner_id": fact.partner_id,
                "joined_at": rfc3339(fact.joined_at),
                "name": fact.name,
                "email": emails[fact.email_hash],
                "visitor_id": fact.visitor_id,
                "recruiter_id": fact.recruiter_hint,
            }
        case SignedUp():
            line = {
                "license_id": fact.license_id,
                "signed_up_at": rfc3339(fact.signed_up_at),
                "product": fact.product,
                "visitor_id": fact.visitor_id,
                "partner_id": fact.partner_hint,
                "client_email": emails[fact.client_email_hash],
                "data_center": fact.data_center,
                "trial_days": fact.trial_days,
            }
        case SolutionLicenseCreated():
            line = {
                "license_id": fact.license_id,
                "created_at": rfc3339(fact.created_at),
                "product": fact.product,
                "partner_id": fact.partner_id,
                # the contract wants an e-mail here: a client who gave none is someone of their own
                "client_email": emails[fact.client_email_hash] or f"client.of.{fact.license_id}@example.com",
                "payment_origin": fact.payment_origin,
            }
        case LicenseTransferred():
            line = {
                "event_id": fact.event_id,
                "license_id": fact.license_id,
                "occurred_at": rfc3339(fact.occurred_at),
            }
        case Paid():
            line = {
                "payment_id": fact.payment_id,
                "license_id": fact.license_id,
                "paid_at": rfc3339(fact.paid_at),
                "amount_cents": fact.amount_cents,
                "currency": fact.currency,
                "discount_cents": fact.discount_cents,
                "billing_cycle": fact.billing_cycle,
            }
        case Refunded():
            line = {
                "refund_id": fact.refund_id,
                "payment_id": fact.payment_id,
                "refunded_at": rfc3339(fact.refunded_at),
                "amount_cents": fact.amount_cents,
                "kind": fact.kind,
            }
        case LicenseChanged():
            line = {
                "event_id": fact.event_id,
                "license_id": fact.license_id,
                "occurred_at": rfc3339(fact.occurred_at),
                "kind": fact.kind,
            }
        case PartnerChanged():
            line = {
                "event_id": fact.event_id,
                "partner_id": fact.partner_id,
                "occurred_at": rfc3339(fact.occurred_at),
                "kind": fact.kind,
                "first_tier_percent": _percent(fact.first_tier_percent_hundredths),
                "second_tier_percent": _percent(fact.second_tier_percent_hundredths),
                "until": None if fact.until is None else rfc3339(fact.until),
            }
    return {"type": fact.type, **{key: value for key, value in line.items() if value not in (None, "")}}


def _percent(hundredths: int | None) -> float | None:
    return None if hundredths is None else hundredths / 100
