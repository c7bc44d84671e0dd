"""What every way of taking a click needs: the redirect, its fast lane, and touches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from tracker.client_address import Clients
from tracker.ids import RandomBytes
from tracker.journal import Journal
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.program import Program


@dataclass(frozen=True, slots=True)
class ClickIntake:
    """Wired once per worker (app.py). `now_ms` is the clock, `random_bytes` the source of ids."""

    program: Program
    secret: bytes
    links: Links
    journal: Journal
    metrics: Metrics
    now_ms: Callable[[], int]
    clients: Clients = field(default_factory=Clients)
    random_bytes: RandomBytes = os.urandom
