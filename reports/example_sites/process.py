"""The example sites' process: their token, their outbox, and where everything is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from starlette.applications import Starlette

from reports.example_sites.app import create_app
from reports.example_sites.conversions import Conversions
from reports.example_sites.outbox import Outbox
from reports.example_sites.pages import Sites
from tracker.program import load_program
from tracker.serving import LateApp
from tracker.settings import Settings
from tracker.tokens import Tokens

TOKEN_LABEL = "example sites"


def example_sites(settings: Settings, tracker_url: str, now_ms: int) -> LateApp:
    """Both sites, made when the server starts. `tracker_url` is the tracker's address on this machine; the settings
    have the one for browsers, and the admin token."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Starlette]:
        folder = settings.data / "example"
        token = await service_token(settings, folder / "service-token", now_ms)
        products = load_program(settings.program_path).products
        sites = Sites(
            livechat_url=products["livechat"].url.rstrip("/"),
            partners_url=products["partner_program"].url.rstrip("/"),
            tracker_url=settings.tracker_url,
            app_url=settings.app_url,
            outbox=Outbox(folder / "outbox.sqlite3", Conversions(tracker_url, token)),
        )
        app = create_app(sites)
        async with app.router.lifespan_context(app):
            yield app

    return LateApp(opened)


async def service_token(settings: Settings, kept: Path, now_ms: int) -> str:
    """The sites' service token, as an admin makes one in the app: the kept one, else a new one."""
    async with Redis.from_url(settings.effective_redis_url) as redis:
        tokens = Tokens(redis, settings.admin_token or "")
        secret = _read(kept)
        if await tokens.verify(secret, now_ms):
            return secret
        for token in await tokens.list("service", now_ms):
            if token.label == TOKEN_LABEL:
                await tokens.revoke("service", token.id, now_ms)
        _, secret = await tokens.issue("service", TOKEN_LABEL, now_ms)
    _write(kept, secret)
    return secret


def _read(kept: Path) -> str:
    return kept.read_text().strip() if kept.exists() else ""


def _write(kept: Path, secret: str) -> None:
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)
