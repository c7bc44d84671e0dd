"""All load users as one Locust file; docs/loadtests.md has the commands.

The process that leads the run (the only one, or Locust's master) makes partners, links and tokens through the API when
the test starts, and tells the workers. Users wait for that.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from gevent.event import AsyncResult
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import MasterRunner, WorkerRunner

from loadtests import load_user
from loadtests.beacons import BeaconUser
from loadtests.billing import BillingUser
from loadtests.load_program import Host, LoadError, LoadProgram
from loadtests.partners import MarketingUser, PartnerUser
from loadtests.visitors import VisitorUser

__all__ = ["BeaconUser", "BillingUser", "MarketingUser", "PartnerUser", "VisitorUser"]

TRACKER_URL = "http://127.0.0.1:8000"
APP_URL = "http://127.0.0.1:8001"
MESSAGE = "load_program"
log = logging.getLogger(__name__)
