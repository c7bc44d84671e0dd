"""Makes deliveries: takes those that are due, hands each to its channel, and tries again, later and later, for days."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from reports.delivery_log import DeliveryLog
from tracker.delivery import DELIVERED, FAILED, NOT_SENT, WAITING, Attempt, Delivery
from tracker.errors import LasttouchError, Unavailable

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
MOST_AT_ONCE = 8  # of a channel
STOP_SECONDS = 3.0
TRY_SECONDS = 45.0  # what is not done by then has failed
MINUTE, HOUR = 60, 3600
PAUSES = (5, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, *[24 * HOUR] * 5)
"""Seconds after each try that failed: six days and fourteen tries in all."""
ATTEMPTS_KEPT = 10


class NotTaken(LasttouchError):
    """A try failed. The message is shown and logged: it holds no address and no name."""


class Refused(NotTaken):
    """It will never be taken: it is not tried again."""


class NoReceiver(NotTaken):
    """There is nobody to send it to: it is kept, and sent when somebody says so."""


class Stopped(NotTaken):
    """Nothing of the channel will be taken until an administrator says so; this one waits as well."""


class Channel(Protocol):
    """Where deliveries go."""

    async def is_open(self) -> bool:
        """Whether anything can be delivered now; what is ordered meanwhile waits."""

    async def deliver(self, delivery: Delivery) -> str:
        """Deliver, and say how it was taken. Raises NotTaken, Refused, NoReceiver, Stopped, Unavailable, RedisError."""


class Worker:
    """Makes the deliveries of some channels until it is stopped."""

    def __init__(self, redis: Redis, channels: Mapping[str, Channel], now_ms: Callable[[], int]) -> None:
        self._log = DeliveryLog(redis)
        self._channels = channels
        self._now_ms = now_ms
        self._busy: dict[str, set[asyncio.Task[None]]] = {channel: set() for channel in channels}
        self._stopping = asyncio.Event()
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Look for what is due, four times a second, and whenever a try has ended."""
        is_away = False
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                for name, channel in self._channels.items():
                    await self._start(name, channel)
                if is_away:
                    log.info("deliveries go on")
                is_away = False
            except (RedisError, OSError) as error:
                if not is_away:
                    log.warning("deliveries wait for Redis: %s", error)
                is_away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), POLL_SECONDS)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End `running`, a task of `run`, and the tries that are under way, within a few seconds."""
        self._stopping.set()
        self._awake.set()
        await asyncio.wait([running], timeout=STOP_SECONDS)
        tries = set().union(*self._busy.values())
        for task in (running, *tries):
            task.cancel()
        await asyncio.wait([running, *tries], timeout=STOP_SECONDS)

    async def _start(self, name: str, channel: Channel) -> None:
        busy = self._busy[name]
        room = MOST_AT_ONCE - len(busy)
        if room <= 0 or not await channel.is_open():
            return
        for delivery in await self._log.take(name, room):
            task = asyncio.create_task(self._make(channel, delivery))
            busy.add(task)
            task.add_done_callback(partial(self._ended, busy))

    def _ended(self, busy: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        busy.discard(task)
        self._awake.set()

    async def _make(self, channel: Channel, delivery: Delivery) -> None:
        """One try, and what becomes of the delivery."""
        try:
            async with asyncio.timeout(TRY_SECONDS):
                outcome, status = await channel.deliver(delivery), DELIVERED
        except Refused as error:
            outcome, status = str(error), FAILED
        except NoReceiver as error:
            outcome, status = str(error), NOT_SENT
        except (NotTaken, Unavailable) as error:
            outcome, status = str(error), WAITING
        except TimeoutError:
            outcome, status = "it took too long", WAITING
        except Exception as error:  # a lane must not stand still for a fault of ours, and its words may be personal
            outcome, status = f"it failed: {type(error).__name__}", WAITING
            log.debug("a delivery failed", exc_info=error)
        tried, pause = after_try(delivery, outcome, status, self._now_ms())
        _tell(tried, outcome, pause)
        try:
            await self._log.settle(tried, pause)
        except (RedisError, OSError) as error:
            log.warning("delivery %s: what became of it is not written down, it is made again: %s", delivery.id, error)


def after_try(delivery: Delivery, outcome: str, status: str, now_ms: int) -> tuple[Delivery, float]:
    """The delivery after a try, and the seconds until it is due again. The last pause over, it is given up."""
    attempts = delivery.attempts + 1
    pause = 0.0
    if status == WAITING:
        if attempts > len(PAUSES):
            status = FAILED
        else:
            pause = PAUSES[attempts - 1] * random.uniform(1.0, 1.1)  # not all at once
    kept = (*delivery.last_attempts, Attempt(now_ms, outcome))[-ATTEMPTS_KEPT:]
    tried = replace(
        delivery,
        status=status,
        attempts=attempts,
        last_attempts=kept,
        next_at=now_ms + int(pause * 1000) if status == WAITING else None,
        settled_at=None if status == WAITING else now_ms,
    )
    return tried, pause


def _tell(delivery: Delivery, outcome: str, pause: float) -> None:
    name = f"{delivery.channel} {delivery.id} ({delivery.type})"
    if delivery.status in (DELIVERED, NOT_SENT):
        log.info("%s: %s", name, outcome)
    elif delivery.status == WAITING:
        log.warning("%s was not taken, again in %.0f s: %s", name, pause, outcome)
    else:
        log.error("%s is given up: %s; an administrator can send it again", name, outcome)


@asynccontextmanager
async def making_deliveries(worker: Worker) -> AsyncIterator[None]:
    """Deliveries are made for the length of the context. A try that is under way at its end is made again later."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(task)
