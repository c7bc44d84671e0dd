"""Brings what waits on the disk to Redis, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tracker.click_line import ClickLine
from tracker.metrics import Metrics
from tracker.spool import Spool

DELIVER_SECONDS = 1.0

log = logging.getLogger(__name__)


class SpoolDelivery:
    """Delivers a spool, what dead processes left in it included. `append` says whether Redis has taken clicks."""

    def __init__(
        self, spool: Spool, append: Callable[[Sequence[ClickLine]], Awaitable[bool]], metrics: Metrics
    ) -> None:
        self._spool = spool
        self._append = append
        self._metrics = metrics
        # One thread, so that a segment is released after the last thing that was done with it.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="delivery")

    async def deliver_again_and_again(self, may_deliver: Callable[[], bool]) -> None:
        """Deliver until it is cancelled."""
        while True:
            try:
                if may_deliver():
                    await self._deliver()
            except Exception:
                # Without rounds the spool would fill up.
                log.exception("the spool could not be delivered")
            await asyncio.sleep(DELIVER_SECONDS)

    def close(self) -> None:
        """Wait for what is being done on the disk."""
        self._disk.shutdown()

    async def _deliver(self) -> None:
        """Bring every segment that nobody holds to Redis, until one is refused."""
        on_disk = partial(asyncio.get_running_loop().run_in_executor, self._disk)
        await on_disk(self._spool.rotate)
        broken: set[Path] = set()
        while (segment := await on_disk(self._spool.claim, broken)) is not None:
            try:
                while records := await on_disk(segment.next_records):
                    lines = [line for record in records for line in record.lines]
                    if not await self._append(lines):
                        return
                    self._metrics.delivered_clicks.add(amount=len(lines))
                    await on_disk(segment.mark_delivered, records)
                await on_disk(segment.remove)
            except OSError as error:
                # The others must not wait for it. It is tried again in the next round.
                log.error("%s could not be delivered: %r", segment.path, error)
                broken.add(segment.path)
            finally:
                self._disk.submit(segment.release)
