"""All load users as one Locust file; docs/loadtests.md has the commands.

The process that leads the run (the only one, or Locust's master) makes partners, links and tokens through the API when
the test starts, and tells its workers. Users wait for that.
"""

from __future__ import annotations

import logging
from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import MasterRunner, WorkerRunner

from loadtests.beacons import BeaconUser
from loadtests.billing import BillingUser
from loadtests.load_program import Host, LoadError, LoadProgram
from loadtests.load_user import program_made
from loadtests.partners import MarketingUser, PartnerUser
from loadtests.visitors import VisitorUser

__all__ = ["BeaconUser", "BillingUser", "MarketingUser", "PartnerUser", "VisitorUser"]

TRACKER_URL = "http://127.0.0.1:8000"
APP_URL = "http://127.0.0.1:8001"
MESSAGE = "load_program"
log = logging.getLogger(__name__)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: LocustArgumentParser) -> None:
    """`--host` is the tracker; these are the rest of what a run must know."""
    parser.set_defaults(host=TRACKER_URL)
    parser.add_argument("--app-url", env_var="LASTTOUCH_APP_URL", default=APP_URL, help=f"the app (default {APP_URL})")
    parser.add_argument(
        "--admin-token",
        env_var="LASTTOUCH_ADMIN_TOKEN",
        default="",
        include_in_web_ui=False,
        help="makes the partners, links and tokens of the run",
    )
    parser.add_argument("--partners", type=int, default=30, help="how many partners the run makes (default 30)")
    parser.add_argument("--currency", default="USD", help="the program's currency (default USD)")


@events.init.add_listener  # type: ignore[untyped-decorator]
def listen_to_master(environment: Environment, **_: Any) -> None:
    """Workers, and a process that is alone, take the program when it comes; a worker that comes late is told again."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):

        def tell_late_worker(client_id: str, **_: Any) -> None:
            if program_made.ready():
                runner.send_message(MESSAGE, program_made.get().document(), client_id)

        environment.events.worker_connect.add_listener(tell_late_worker)  # type: ignore[no-untyped-call]
    elif runner is not None:
        runner.register_message(MESSAGE, take_program)


def take_program(msg: Any, **_: Any) -> None:
    program_made.set(LoadProgram.from_document(msg.data))


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def make_program(environment: Environment, **_: Any) -> None:
    """Make what users work on, and tell everybody. Where that fails, the run ends with one clear line and exit 1."""
    runner, options = environment.runner, environment.parsed_options
    if runner is None or options is None or isinstance(runner, WorkerRunner):
        return
    try:
        if not options.admin_token:
            raise LoadError("give the admin token with LASTTOUCH_ADMIN_TOKEN or --admin-token")
        host = Host(environment.host or TRACKER_URL, options.app_url, options.admin_token)
        program = host.make_program(options.partners, options.currency)
    except LoadError as error:
        environment.process_exit_code = 1
        raise StopTest(f"no load without a program: {error}") from None
    log.info("made %d partners; the ids of this run begin with %s", len(program.partners), program.run)
    program_made.set(program)
    runner.send_message(MESSAGE, program.document())
