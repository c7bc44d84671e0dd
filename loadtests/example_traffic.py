"""`lasttouch serve --demo`: imports the history once, then sends live visitors through the real HTTP endpoints."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import time

from loadtests.example_history import history
from loadtests.example_program import SEED, mark_filled, read_claim
from loadtests.example_visitors import Visitors
from tracker.errors import SettingError
from tracker.import_file import Outcome, Rejected, Tracker, load_events
from tracker.settings import Settings

logger = logging.getLogger("lasttouch.example")

VISITORS_A_SECOND = 2.0
ATTRIBUTED_WITHIN_SECONDS = 120.0


def run_example(settings: Settings, tracker_url: str, sites_url: str, ready_fd: int | None) -> int:
    """Fill in, say that we are ready, and send visitors until we are told to stop."""
    claim = read_claim(settings.data)
    if claim is None or settings.admin_token is None:
        raise SettingError("the example is only started by `lasttouch serve --demo`")
    tracker = Tracker(tracker_url, settings.admin_token)
    if not claim.is_filled:
        fill(tracker, claim.began_at)
        mark_filled(settings.data, claim)
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    visitors = Visitors(random.Random(), tracker_url, sites_url, settings.admin_token)
    while True:
        time.sleep(random.expovariate(VISITORS_A_SECOND))
        visitors.one_step(time.time())


def fill(tracker: Tracker, ends_at: int) -> None:
    """Import the history, and wait until attribution has worked on it."""
    facts = history(SEED, ends_at)
    logger.info("importing %d facts of the example program", len(facts))
    lines = io.BytesIO(b"".join(json.dumps(fact).encode() + b"\n" for fact in facts))
    outcome = load_events(lines, tracker, _ignore, _log_rejected)
    logger.info("%d accepted, %d known already; waiting for attribution", outcome.accepted, outcome.duplicates)
    deadline = time.monotonic() + ATTRIBUTED_WITHIN_SECONDS
    while not tracker.pipeline()["attributed"]:
        if time.monotonic() > deadline:
            logger.warning("attribution still works on the example; its pages fill up as it goes on")
            return
        time.sleep(0.2)


def _ignore(_: Outcome) -> None:
    """The history takes seconds; nobody needs to see how it goes."""


def _log_rejected(rejected: Rejected) -> None:
    logger.error("the example's history, %s", rejected)
