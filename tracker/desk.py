"""What decisions on conversions share: the desk they are made at, and how their answers are remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracker import redis_keys
from tracker.attribution_now import read_standing
from tracker.bodies import Body
from tracker.directory import Key, Known, Step
from tracker.program import Program
from tracker.standing import Standing
from tracker.visitors import read_stamp

IDS: Mapping[str, tuple[str, str]] = {
    "partner": ("partner", "partner_id"),
    "signup": ("license", "license_id"),
    "solution_license": ("license", "license_id"),
    "payment": ("payment", "payment_id"),
    "refund": ("refund", "refund_id"),
    "license_event": ("license_event", "event_id"),
    "partner_event": ("partner_event", "event_id"),
    "license_transfer": ("license_transfer", "event_id"),
}
"""Kind of fact → the name space of its ids, and the field that holds its own."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What deciding needs besides the body: the program, its secret, the tracker's address, and the moment."""

    program: Program
    secret: bytes
    tracker_url: str
    now_ms: int
    is_import: bool = False

    def visitor_id(self, body: Body) -> str | None:
        """The visitor of a signup or join. A broken or expired stamp is no visitor: the Partner ID is left."""
        given: str | None = body.get("visitor_id")
        return given or (read_stamp(self.secret, body.get("lt", ""), self.now_ms) if body.get("lt") else None)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a caller, and the step that makes it true; None for a replay of the first answer."""

    answer: Mapping[str, Any]
    step: Step | None


def own_key(body: Body) -> Key | None:
    """Where it is kept that the fact of a body is known; None for a join whose Partner ID is still to be made."""
    name_space, field = IDS[body.type]
    own_id = body.get(field)
    return (redis_keys.seen(name_space), own_id) if own_id else None


def first_answer(body: Body, own_id: str, answer: Mapping[str, Any]) -> dict[Key, str]:
    """The entry that remembers a body's digest and the first answer to it."""
    key = (redis_keys.seen(IDS[body.type][0]), own_id)
    return {key: f"{body.digest} {json.dumps(answer, separators=(',', ':'))}"}


def simple_decision(fact_id: str, body: Body, row: str, **step: Any) -> Decision:
    """The decision on a fact whose answer is its id."""
    name = IDS[body.type][1]
    answer = {name: fact_id}
    seen = first_answer(body, fact_id, answer)
    write = {**seen, **step.pop("write", {})}
    expect = {**dict.fromkeys(seen), **step.pop("expect", {})}
    return Decision(answer, Step((row,), expect, write, **step))


def known_standings(known: Known) -> dict[str, Standing | None]:
    """The standings of all partners that were read; None for those that the directory has not."""
    return {
        name: read_standing(name, value.encode() if value else None)
        for (hash_key, name), value in known.entries.items()
        if hash_key == redis_keys.PARTNERS
    }
