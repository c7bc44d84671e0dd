"""Takes conversions in: read what is known, decide, commit; again if something changed in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracker.bodies import Body
from tracker.conversions import decide, first_reads, further_reads
from tracker.desk import Decision, Desk
from tracker.directory import Directory, Known
from tracker.errors import Problem, Unavailable
from tracker.program import Program

MAX_ATTEMPTS = 20  # a fact that others change under us this often is a fault, not a race


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an accepted fact. `is_replay`: it had been accepted before, this is the first answer."""

    answer: Mapping[str, Any]
    is_replay: bool


class Intake:
    """Accepts facts from callers. Raises redis.RedisError when Redis does not answer: then nothing was promised."""

    def __init__(
        self, directory: Directory, program: Program, secret: bytes, tracker_url: str, now_ms: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._desk = Desk(program, secret, tracker_url, 0)
        self._now_ms = now_ms

    async def accept(self, body: Body, is_import: bool = False) -> Accepted:
        """Accept one fact, durable in Redis when this returns. Raises Conflict and Invalid."""
        desk = replace(self._desk, now_ms=self._now_ms(), is_import=is_import)
        for _ in range(MAX_ATTEMPTS):
            known = await self._read([body], desk)
            decision = decide(body, known, desk)
            if decision.step is None or (await self._directory.commit([decision.step]))[0]:
                return Accepted(decision.answer, decision.step is None)
        raise Unavailable(f"this {body.type} is being changed by others; try again")

    async def accept_batch(self, bodies: Sequence[Body]) -> list[Accepted | Problem]:
        """Accept imported facts in order with few round trips: what happened to each, in the same order."""
        desk = replace(self._desk, now_ms=self._now_ms(), is_import=True)
        known = await self._read(bodies, desk)
        decisions = [self._foresee(body, known, desk) for body in bodies]
        steps = [item.step for item in decisions if isinstance(item, Decision) and item.step]
        taken = iter(await self._directory.commit(steps))
        results: list[Accepted | Problem] = []
        for body, decision in zip(bodies, decisions, strict=True):
            if isinstance(decision, Decision) and decision.step is None:
                results.append(Accepted(decision.answer, is_replay=True))
            elif isinstance(decision, Decision) and next(taken):
                results.append(Accepted(decision.answer, is_replay=False))
            else:
                results.append(await self._accept_alone(body))
        return results

    async def _accept_alone(self, body: Body) -> Accepted | Problem:
        """Decide again on what is known now: the batch was overtaken, or refused on a guess."""
        try:
            return await self.accept(body, is_import=True)
        except Problem as problem:
            return problem

    @staticmethod
    def _foresee(body: Body, known: Known, desk: Desk) -> Decision | None:
        """The decision if all earlier steps of the batch are taken; None when it would be a refusal."""
        try:
            decision = decide(body, known, desk)
        except Problem:
            return None
        if decision.step:
            known.entries.update(decision.step.write)
        return decision

    async def _read(self, bodies: Sequence[Body], desk: Desk) -> Known:
        known = Known()
        first = [first_reads(body, desk) for body in bodies]
        await self._directory.read(
            known, set().union(*(keys for keys, _ in first)), set().union(*(visitors for _, visitors in first))
        )
        await self._directory.read(known, set().union(*(further_reads(body, known, desk) for body in bodies)))
        return known
