"""A claim on a database's schema: of all processes that start on one ClickHouse, one at a time applies schema files.

It stands in ClickHouse itself, for not everybody who opens a database has Redis. Who wants it adds a row and then
looks: where no other claim is alive it is theirs, else they take theirs back and try again after a pause of a random
length. Of two at once the later one to look sees the other, so that never both have it. A claim that is not renewed is
dead after CLAIM_SECONDS, so that a crash blocks nobody for longer, and who was stopped for that long applies no further
statement. What ClickHouse was told before goes on, also when the process that told it dies: statements may be repeated.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attribution.lease import passed_s
from attribution.warehouse import load_queries
from tracker.errors import LasttouchError, Unavailable

if TYPE_CHECKING:
    from attribution.warehouse import Warehouse

QUERIES = load_queries(Path(__file__).with_name("queries"))

CLAIM_SECONDS = 15  # without a sign of life
RENEW_SECONDS = 3.0
WAIT_SECONDS = 30.0  # for another process's claim, before the caller hears of it
PAUSE_SECONDS = (0.02, 0.2)  # from one look to the next

log = logging.getLogger(__name__)


class ClaimLost(Unavailable):
    """The process was stopped for longer than its claim lives: another may be applying schema files by now."""


@contextmanager
def claimed_schema(warehouse: Warehouse) -> Iterator[Callable[[], None]]:
    """The claim on `warehouse`'s schema, for the length of the context; waited for where another process has it.

    What it gives raises ClaimLost where the claim is gone, and is to be asked before each statement. Raises Unavailable
    where another process keeps its claim for WAIT_SECONDS.
    """
    warehouse.run(QUERIES["migration_claim_create"])
    claim = _Claim(warehouse)
    try:
        claim.take()
        yield claim.require
    finally:
        claim.give_back()


class _Claim:
    """One process's rows in `schema_claims`."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._id = ""
        self._holder = f"{socket.gethostname()} process {os.getpid()}"
        self._held_until_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="schema claim", daemon=True)

    def take(self) -> None:
        """Wait for it, and keep it alive from then on."""
        last_look_s = passed_s() + WAIT_SECONDS
        holders = self._try()
        if holders:
            log.info("%s is bringing database %s up to date", holders[0], self._warehouse.database)
        while holders:
            if passed_s() > last_look_s:
                raise Unavailable(f"{holders[0]} is bringing database {self._warehouse.database} up to date", 5)
            time.sleep(random.uniform(*PAUSE_SECONDS))
            holders = self._others() or self._try()
        self._thread.start()

    def require(self) -> None:
        """Raise ClaimLost where it is not this process's turn any more."""
        if passed_s() >= self._held_until_s:
            raise ClaimLost(f"the claim on the schema of {self._warehouse.database} is gone; start again")

    def give_back(self) -> None:
        """The next one may begin at once. Where that can't be told, after CLAIM_SECONDS."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(LasttouchError):
            if self._id:
                self._say(is_ended=True)

    def _try(self) -> list[str]:
        """Claim it. Who else does, and then it is nobody's; nobody where it is this process's now."""
        self._id = str(uuid.uuid4())  # one that was given back stays so
        asked_s = passed_s()
        self._say(is_ended=False)
        others = self._others()
        if others:
            self._say(is_ended=True)
        else:
            self._held_until_s = asked_s + CLAIM_SECONDS
        return others

    def _others(self) -> list[str]:
        """The holders of all other claims that are alive."""
        rows = self._warehouse.rows(QUERIES["migration_claim_others"], own=self._id, seconds=CLAIM_SECONDS)
        return [row["holder"] for row in rows]

    def _keep(self) -> None:
        while not self._ending.wait(RENEW_SECONDS):
            try:
                self._renew()
            except ClaimLost:
                return
            except LasttouchError as error:
                log.warning("the claim on the schema of %s is not renewed: %s", self._warehouse.database, error)

    def _renew(self) -> None:
        """Raises ClaimLost where it was dead before this was told: somebody else may have it."""
        asked_s = passed_s()
        self._say(is_ended=False)
        self.require()
        self._held_until_s = asked_s + CLAIM_SECONDS

    def _say(self, *, is_ended: bool) -> None:
        said = {"claim": self._id, "holder": self._holder, "is_ended": is_ended}
        self._warehouse.run(QUERIES["migration_claim_say"], **said)
