"""Conversions against a real Redis: idempotent, atomic with the directory, journaled once, whatever the order."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tracker import redis_keys
from tracker.bodies import Body, Reading, read_body
from tracker.directory import Directory
from tracker.errors import Conflict, Invalid, Problem, Unavailable
from tracker.intake import Accepted, Intake
from tracker.journal_bound import JournalBound
from tracker.program import DAY_MS, Program
from tracker.rfc3339 import rfc3339
from tracker.solutions import read_solution_license
from tracker.visitors import make_stamp

pytestmark = pytest.mark.anyio

NOW = 1_763_830_000_000
PROGRAM = Program()
SECRET = b"s" * 32
VISITOR = "0b3c1f1e-7d0a-4b8e-9a55-0123456789ab"
CLICK = "018bcfe5-6800-707d-995f-b6ead158419{}"


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(empty_redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def intake(redis: Redis) -> Intake:
    return Intake(Directory(redis), PROGRAM, SECRET, "http://go.example", lambda: NOW)


def body(fact: str, /, **fields: Any) -> Body:
    return read_body(fact, fields, Reading(PROGRAM, NOW))


def join(partner_id: str, **fields: Any) -> Body:
    given = {"email": f"{partner_id.lower()}@example.com", "name": partner_id, "joined_at": "2025-01-01T00:00:00Z"}
    return body("partner", partner_id=partner_id, **(given | fields))


def pay(payment_id: str = "p1", amount_cents: int = 2900, **fields: Any) -> Body:
    given = {"license_id": "L1", "currency": "USD", "paid_at": "2025-11-01T00:00:00Z"}
    return body("payment", payment_id=payment_id, amount_cents=amount_cents, **(given | fields))


def refund(refund_id: str, amount_cents: int, kind: str = "refund") -> Body:
    return body("refund", refund_id=refund_id, payment_id="p1", amount_cents=amount_cents, kind=kind)


async def touch(redis: Redis, *touches: tuple[int, str, str], visitor_id: str = VISITOR) -> None:
    """What the journal leaves of a visitor's clicks: (ms, click id, partner), any order."""
    lines = [f"{at:013d} {click} {partner} livechat " for at, click, partner in sorted(touches, reverse=True)]
    await redis.set(redis_keys.touches(visitor_id), "\n".join(lines))


async def journaled(redis: Redis) -> list[dict[str, Any]]:
    entries = await redis.xrange(redis_keys.FACT_JOURNAL)
    return [json.loads(line) for _, entry in entries for line in entry[b"facts"].splitlines()]


async def accepted_count(redis: Redis) -> int:
    return int(await redis.hget(redis_keys.FACT_COUNTS, "accepted") or 0)


async def test_a_join_makes_the_partner_the_links_and_one_fact(redis: Redis, intake: Intake) -> None:
    accepted = await intake.accept(join("A"))
    assert accepted.answer["partner_id"] == "A"
    assert accepted.answer["recruiter_id"] is None and accepted.answer["reason"] == "none"
    links = accepted.answer["links"]
    assert links["livechat"]["url"] == "https://www.livechat.com/?a=A&utm_source=PP"
    code = links["livechat"]["short_url"].removeprefix("http://go.example/")
    stored = json.loads(await redis.hget(redis_keys.LINKS, code))
    assert stored == {"partner_id": "A", "product": "livechat", "campaign": "", "landing_url": ""}
    facts = await journaled(redis)
    assert [(fact["type"], fact["partner_id"]) for fact in facts] == [("partner", "A")]
    assert await accepted_count(redis) == 1
    told = [entry[b"key"].decode() for _, entry in await redis.xrange(redis_keys.CHANGES)]
    assert "A" in told and code in told


async def test_the_same_again_is_the_first_answer_and_no_second_fact(redis: Redis, intake: Intake) -> None:
    for kind in (join("A"), pay(), body("signup", license_id="L1", product="livechat")):
        first = await intake.accept(kind)
        again = await intake.accept(kind)
        assert (first.is_replay, again.is_replay) == (False, True)
        assert again.answer == first.answer
    assert len(await journaled(redis)) == await accepted_count(redis) == 3


async def test_as_many_facts_wait_as_may_and_the_others_are_refused(redis: Redis) -> None:
    bound = JournalBound(5_000)
    intake = Intake(Directory(redis, bound), PROGRAM, SECRET, "http://go.example", lambda: NOW)
    await intake.accept_batch([pay(f"p{number}") for number in range(bound.facts - 1)])
    first = await intake.accept(join("A"))
    for refused in (intake.accept(pay("late")), intake.accept_batch([pay("late")])):
        with pytest.raises(Unavailable, match="journal is full") as refusal:
            await refused
        assert refusal.value.retry_after_seconds > 0
    assert (await intake.accept(join("A"))).answer == first.answer, "what was accepted is answered again"
    assert len(await journaled(redis)) == await accepted_count(redis) == bound.facts
    await redis.hset(redis_keys.FACT_COUNTS, "loaded", "1")
    assert not (await intake.accept(pay("late"))).is_replay


async def test_nothing_is_decided_on_a_directory_that_was_lost(redis: Redis) -> None:
    """Redis was emptied: e-mails that are taken look free, and first answers are forgotten, until all is put back."""
    was_complete = False
    directory = Directory(redis, was_complete=lambda: was_complete)
    intake = Intake(directory, PROGRAM, SECRET, "http://go.example", lambda: NOW)
    await intake.accept(join("A"))  # in a program that begins nobody has said yet that all is there
    await directory.require()
    await redis.set(redis_keys.COMPLETE, "1")
    was_complete = True
    await intake.accept(join("B", email="b@example.com"))
    await redis.flushall()
    for refused in (intake.accept(join("C", email="b@example.com")), intake.accept_batch([pay()]), directory.require()):
        with pytest.raises(Unavailable, match="Redis was emptied"):
            await refused
    assert await redis.dbsize() == 0
    await redis.set(redis_keys.COMPLETE, "1")
    await intake.accept(pay())
    await directory.require()


async def test_a_join_without_an_id_is_known_by_its_email(redis: Redis, intake: Intake) -> None:
    anonymous = body("partner", email="x@example.com", name="X")
    first = await intake.accept(anonymous)
    assert (await intake.accept(anonymous)).answer == first.answer
    with pytest.raises(Conflict) as refusal:
        await intake.accept(body("partner", email=" X@Example.com ", name="Y"))
    assert refusal.value.errors[0]["field"] == "email"
    assert len(await journaled(redis)) == 1


async def test_the_same_id_with_another_body_is_a_conflict(redis: Redis, intake: Intake) -> None:
    await intake.accept(pay())
    with pytest.raises(Conflict) as refusal:
        await intake.accept(pay(amount_cents=2901))
    assert refusal.value.errors[0]["field"] == "payment_id"
    await intake.accept(body("signup", license_id="L1", product="livechat"))
    with pytest.raises(Conflict):
        fields = {"license_id": "L1", "product": "livechat", "partner_id": "A", "client_email": "c@x.org"}
        await intake.accept(body("solution_license", payment_origin="client", **fields))
    assert len(await journaled(redis)) == 2


async def test_a_solution_license_has_the_programs_trial_in_fact_and_state(redis: Redis) -> None:
    """Lists of the app and of the Partner API go by one of them each."""
    program = Program(trial_days_default=30)
    intake = Intake(Directory(redis), program, SECRET, "http://go.example", lambda: NOW)
    fields = {"license_id": "L1", "product": "livechat", "partner_id": "A", "client_email": "c@x.org"}
    await intake.accept(body("solution_license", payment_origin="client", **fields))
    state = await redis.hget(redis_keys.SOLUTION_LICENSES, "L1")
    assert state is not None
    assert read_solution_license(state.decode()).trial_days == 30
    assert [fact["trial_days"] for fact in await journaled(redis)] == [30]


async def test_fifty_at_once_are_one_fact(redis: Redis, intake: Intake) -> None:
    results = await asyncio.gather(*(intake.accept(pay()) for _ in range(50)))
    assert sum(not result.is_replay for result in results) == 1
    assert len(await journaled(redis)) == await accepted_count(redis) == 1


async def test_reversals_never_pass_what_remains_of_a_known_payment(redis: Redis, intake: Intake) -> None:
    await intake.accept(pay())
    await intake.accept(refund("r1", 1000))
    with pytest.raises(Invalid) as refusal:
        await intake.accept(refund("r2", 1901, "chargeback"))
    assert "1900 cents that remain" in refusal.value.detail
    await intake.accept(refund("r2", 1900, "chargeback"))
    with pytest.raises(Invalid):
        await intake.accept(refund("r3", 1))
    await intake.accept(refund("r4", 1900, "chargeback_won"))
    await intake.accept(refund("r5", 1900))


async def test_twenty_refunds_at_once_take_no_more_than_was_paid(redis: Redis, intake: Intake) -> None:
    await intake.accept(pay(amount_cents=1000))

    async def attempt(number: int) -> bool:
        try:
            await intake.accept(refund(f"r{number}", 100))
        except Invalid:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(20)))) == 10


async def test_a_refund_may_come_before_its_payment_and_an_import_may_exceed(redis: Redis, intake: Intake) -> None:
    await intake.accept(refund("r1", 900))
    await intake.accept(pay(amount_cents=1000))
    with pytest.raises(Invalid):
        await intake.accept(refund("r2", 101))
    results = await intake.accept_batch([refund("r2", 101)])
    assert isinstance(results[0], Accepted)


@pytest.mark.parametrize(
    ("signed_up_at", "winner"),
    [
        (NOW, "B"),
        (NOW - 10 * DAY_MS, "B"),
        (NOW - 10 * DAY_MS - 1, "A"),
        (NOW - 20 * DAY_MS - 1, None),
        (NOW - 20 * DAY_MS, "A"),
    ],
)
async def test_the_newest_touch_before_the_signup_wins(
    redis: Redis, intake: Intake, signed_up_at: int, winner: str | None
) -> None:
    await intake.accept(join("Q"))
    await intake.accept(join("A", recruiter_id="Q"))
    await intake.accept(join("B"))
    await touch(redis, (NOW - 20 * DAY_MS, CLICK.format(0), "A"), (NOW - 10 * DAY_MS, CLICK.format(1), "B"))
    at = {"signed_up_at": rfc3339(signed_up_at)}
    accepted = await intake.accept(body("signup", license_id="L1", product="livechat", visitor_id=VISITOR, **at))
    attribution = accepted.answer["attribution"]
    assert attribution["partner_id"] == winner
    assert attribution["reason"] == ("last_touch" if winner else "none")
    assert attribution["recruiter_id"] == ("Q" if winner == "A" else None)


@pytest.mark.parametrize(
    ("fields", "partner_id", "reason"),
    [
        ({}, None, "none"),
        ({"partner_id": "A"}, "A", "explicit_partner"),
        ({"partner_id": "unknown"}, None, "none"),
        ({"partner_id": "S"}, None, "partner_suspended"),
        ({"visitor_id": VISITOR, "partner_id": "A"}, "B", "last_touch"),
        ({"visitor_id": VISITOR, "client_email": " B@example.com"}, "B", "self_referral"),
        ({"partner_id": "A", "client_email": "a@EXAMPLE.com"}, "A", "self_referral"),
        ({"lt": make_stamp(SECRET, VISITOR, NOW - 1000)}, "B", "last_touch"),
        ({"lt": "forged", "partner_id": "A"}, "A", "explicit_partner"),
    ],
)
async def test_why_a_signup_is_attributed(
    redis: Redis, intake: Intake, fields: dict[str, str], partner_id: str | None, reason: str
) -> None:
    for name in "ABS":
        await intake.accept(join(name))
    await intake.accept(body("partner_event", event_id="e1", partner_id="S", kind="suspended"))
    await touch(redis, (NOW - 2000, CLICK.format(0), "B"), (NOW, CLICK.format(1), "S"))
    accepted = await intake.accept(body("signup", license_id="L1", product="livechat", **fields))
    attribution = accepted.answer["attribution"]
    assert (attribution["partner_id"], attribution["reason"]) == (partner_id, reason)


async def test_an_event_may_come_before_its_partner(redis: Redis, intake: Intake) -> None:
    suspended = body(
        "partner_event", event_id="e1", partner_id="A", kind="suspended", occurred_at="2025-06-01T00:00:00Z"
    )
    await intake.accept(suspended)
    await intake.accept(join("A"))
    accepted = await intake.accept(body("signup", license_id="L1", product="livechat", partner_id="A"))
    assert accepted.answer["attribution"]["reason"] == "partner_suspended"


async def test_clients_data_goes_to_its_data_center_only(redis: Redis, intake: Intake) -> None:
    fields = {"client_email": "jane.doe@example.com", "client_name": "Jane Doe", "data_center": "eu-west3"}
    await intake.accept(body("signup", license_id="L1", product="livechat", **fields))
    holders = [
        key.decode()
        for key in await redis.keys()
        if b"Jane Doe" in await redis.dump(key) or b"jane.doe" in await redis.dump(key)
    ]
    assert holders == [redis_keys.client_journal("eu-west3")]
    assert (await journaled(redis))[0]["client_email_masked"] == "j…e@e…m"


async def test_a_batch_gives_what_its_facts_give_one_by_one(redis: Redis, intake: Intake) -> None:
    facts = [
        join("A"),
        pay(),
        refund("r1", 1000),
        join("A", name="other"),
        refund("r1", 1000),
        join("B", email="a@example.com"),
    ]
    results = await intake.accept_batch(facts)
    assert [_outcome(result) for result in results] == ["new", "new", "new", "Conflict", "replay", "Conflict"]
    assert len(await journaled(redis)) == await accepted_count(redis) == 3
    for order in itertools.islice(itertools.permutations(facts[:3]), 6):
        assert [_outcome(result) for result in await intake.accept_batch(order)] == ["replay"] * 3


async def test_batches_at_once_agree(redis: Redis, intake: Intake) -> None:
    batches = [[join(f"P{number % 5}"), pay(f"p{number % 7}"), refund(f"r{number % 3}", 10)] for number in range(21)]
    results = await asyncio.gather(*(intake.accept_batch(batch) for batch in batches))
    outcomes = [_outcome(result) for batch in results for result in batch]
    assert outcomes.count("new") == 5 + 7 + 3
    assert set(outcomes) == {"new", "replay"}
    assert len(await journaled(redis)) == await accepted_count(redis) == 15


def _outcome(result: Accepted | Problem) -> str:
    if isinstance(result, Accepted):
        return "replay" if result.is_replay else "new"
    return type(result).__name__
