"""The process of the app, alone or together with attribution (an embedded ClickHouse has one process only)."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette

from attribution.process import open_stores, run_attribution
from reports.app import create_app
from reports.deliveries import Worker, making_deliveries
from reports.invitation import Invitations
from reports.mail import Post
from reports.provisioning import Webhook
from reports.room import Room
from tracker.delivery import MAIL, PROVISIONING
from tracker.errors import SettingError
from tracker.program import load_program
from tracker.serving import LateApp
from tracker.settings import Settings
from tracker.tokens import Tokens

log = logging.getLogger(__name__)


def reports_app(settings: Settings, with_attribution: bool) -> LateApp:
    """The app, made when the server starts. The settings have the admin token; raises SettingError without one."""
    admin_token = settings.admin_token
    if admin_token is None:
        raise SettingError("the app needs an admin token")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Starlette]:
        program = load_program(settings.program_path)
        async with AsyncExitStack() as stack:
            stores = await stack.enter_async_context(open_stores(settings))
            attribution = None
            if with_attribution:
                attribution = await stack.enter_async_context(run_attribution(settings, program, stores))
            tokens = Tokens(stores.redis, admin_token)
            redis, warehouse, secret = stores.redis, stores.warehouse, stores.secret
            app = create_app(settings, program, redis, warehouse, tokens, secret, attribution, now_ms)
            await stack.enter_async_context(making_deliveries(delivery_worker(app.state.room)))
            yield app

    return LateApp(opened)


def delivery_worker(room: Room) -> Worker:
    """Who tells LiveChat's own system, and writes e-mails."""
    settings, records = room.settings, room.client_records
    if settings.provisioning_url is None:
        log.info(
            "no provisioning webhook is set (LASTTOUCH_PROVISIONING_URL): what it would be told is kept and not sent"
        )
    webhook = Webhook(settings.provisioning_url, settings.provisioning_secrets, room.redis, records, room.now_ms)
    invitations = Invitations(Post.of(settings), records, room.program)
    return Worker(room.redis, {PROVISIONING: webhook, MAIL: invitations}, room.now_ms)


def now_ms() -> int:
    """The clock, at the edge: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
