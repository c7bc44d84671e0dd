"""A run: which processes there are, what each needs, and where they listen.

    serve                    redis ─► tracker-1 … tracker-N, app (loader + attribution + reports) ─► example, sites
    … with a ClickHouse URL  redis ─► tracker-1 … tracker-N, attribution, reports ─► example
    a role alone             its own processes only

Redis is left out where LASTTOUCH_REDIS_URL is set, the example and its sites unless they were asked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from tracker import redis_server
from tracker.addresses import local_url, public_url, until_healthy
from tracker.data_folder import DataFolder, Running
from tracker.errors import SettingError
from tracker.program import load_program
from tracker.serving import listen, log_as
from tracker.settings import Settings
from tracker.supervisor import Role, Supervisor

logger = logging.getLogger("lasttouch.run")

COMMAND = (sys.executable, str(Path(__file__).resolve().parent.parent / "lasttouch.py"))
SITE_PORT = 8002
TRACKERS_STOP, APP_STOPS, REDIS_STOPS = 1, 2, 3  # the example and its sites, at 0, stop first


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks of a run."""

    host: str
    tracker_port: int = 0
    app_port: int = 0
    workers: int = 1
    site_port: int | None = None
    """Of the example sites. None: SITE_PORT, or a free one where that is taken."""


@dataclass(frozen=True, slots=True)
class Example:
    """The example program of `--demo`.

    `write_program` takes the port of the example sites and gives the path of a program file.
    `claim` takes a Redis URL and raises SettingError where there are facts that are not the example's.
    """

    write_program: Callable[[int], Path]
    claim: Callable[[str], None]


SignInLink = Callable[[str, str], Awaitable[str]]
"""Takes a Redis URL and the app's public address; gives a link that signs an admin in."""


def serve(
    settings: Settings, environ: Mapping[str, str], wishes: Wishes, example: Example | None, sign_in_link: SignInLink
) -> int:
    """Run everything until told to stop. Raises SettingError, FolderInUse or RunFailed."""
    log_as("serve")
    load_program(settings.program_path)
    folder = DataFolder(settings.data)
    folder.lock()
    try:
        run = Run(settings, wishes, folder, environ)
        if example:
            run.add_example(example)
        asyncio.run(run.go(sign_in_link))
    finally:
        folder.withdraw()
        folder.unlock()
    print("Lasttouch has stopped.", flush=True)
    return 0


def serve_role(role: str, settings: Settings, environ: Mapping[str, str], wishes: Wishes) -> int:
    """Run one role's processes until told to stop. Raises SettingError or RunFailed."""
    log_as(role)
    load_program(settings.program_path)
    if settings.redis_url is None and DataFolder(settings.data).running() is None:
        raise SettingError(
            f"`lasttouch {role}` needs LASTTOUCH_REDIS_URL, or a `lasttouch serve` on the same data folder"
        )
    redis_url = settings.redis_url or f"unix://{redis_server.redis_socket(settings)}"
    child_environ = {**environ, "LASTTOUCH_DATA": str(settings.data), "LASTTOUCH_REDIS_URL": redis_url}
    listening = listen(wishes.host, wishes.tracker_port if role == "tracker" else wishes.app_port)
    roles = tracker_roles(listening, wishes.workers) if role == "tracker" else [app_role(role, listening)]

    async def announce() -> None:
        print(f"{role} listens on {local_url(wishes.host, listening)}", flush=True)

    async def go() -> None:
        await Supervisor(roles, child_environ).run(announce, when_stopping=listening.close)

    asyncio.run(go())
    return 0


def tracker_roles(listening: socket.socket, workers: int, needs: Sequence[str] = ()) -> list[Role]:
    """N workers that accept visitors from one listening socket."""
    return [
        Role(
            name=f"tracker-{number}",
            command=child("tracker", "--worker", str(number), "--listen-fd", str(listening.fileno())),
            stops=TRACKERS_STOP,
            needs=needs,
            pass_fds=(listening.fileno(),),
        )
        for number in range(1, workers + 1)
    ]


def app_role(name: str, listening: socket.socket, needs: Sequence[str] = ()) -> Role:
    """`attribution`, `reports`, or both in one process (`app`)."""
    command = ("reports", "--with-attribution") if name == "app" else (name,)
    return Role(
        name=name,
        command=child(*command, "--listen-fd", str(listening.fileno())),
        stops=APP_STOPS,
        stop_within_seconds=40.0,
        needs=needs,
        pass_fds=(listening.fileno(),),
        is_vital=False,
    )


def child(*words: str) -> list[str]:
    """The command line of one of our own commands, as a child of this process."""
    return [*COMMAND, *words, "--supervisor", str(os.getpid())]


async def sign_in_words(sign_in_link: SignInLink, redis_url: str, app_url: str) -> tuple[str, str]:
    """How an admin signs in, in two lines. A Redis that takes no link just now is no reason to end the run."""
    try:
        return await sign_in_link(redis_url, app_url), "(as an admin; the link works once, within an hour)"
    except (RedisError, OSError) as error:
        logger.warning("no sign-in link could be made: %s", error)
        return app_url, "(with the admin token; Redis took no link that would do)"


class Run:
    """Everything on one machine: what is started, and what is told when it is."""

    def __init__(self, settings: Settings, wishes: Wishes, folder: DataFolder, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._folder = folder
        self._is_token_new = folder.admin_token(settings)[1]
        self._tracker_socket = listen(wishes.host, wishes.tracker_port)
        self._app_socket = listen(wishes.host, wishes.app_port)
        self._wishes = wishes
        self._tracker_url = environ.get("LASTTOUCH_TRACKER_URL") or public_url(wishes.host, self._tracker_socket)
        self._app_url = environ.get("LASTTOUCH_APP_URL") or public_url(wishes.host, self._app_socket)
        self._redis_url = settings.redis_url or f"unix://{redis_server.redis_socket(settings)}"
        self._example: Example | None = None
        self._site_socket: socket.socket | None = None
        self._sites: dict[str, str] = {}
        """The products' sites, by their keys."""
        self._environ = {
            **environ,
            "LASTTOUCH_DATA": str(settings.data),
            "LASTTOUCH_REDIS_URL": self._redis_url,
            "LASTTOUCH_TRACKER_URL": self._tracker_url,
            "LASTTOUCH_APP_URL": self._app_url,
        }

    def add_example(self, example: Example) -> None:
        """Serve the example program. Raises SettingError where there are facts that are not the example's."""
        if self._settings.redis_url:
            example.claim(self._redis_url)
        self._example = example
        self._site_socket = _listen_for_sites(self._wishes)
        program = example.write_program(self._site_socket.getsockname()[1])
        self._environ["LASTTOUCH_PROGRAM"] = str(program)
        self._sites = {key: product.url for key, product in load_program(program).products.items()}

    async def go(self, sign_in_link: SignInLink) -> None:
        """Start, announce, and keep running until told to stop."""

        running = self._where()
        self._folder.publish(running)  # from here on callers that come too early wait in the sockets' backlog

        async def announce() -> None:
            await asyncio.gather(until_healthy(running.tracker_url), until_healthy(running.app_url))
            self._print(await sign_in_words(sign_in_link, self._redis_url, self._app_url))

        synced = None if self._settings.redis_url else redis_server.AppendOnlyFiles(self._settings.redis_socket.parent)
        if synced:
            synced.start()
        try:
            await Supervisor(self._roles(), self._environ).run(announce, when_stopping=self._close_sockets)
        finally:
            if synced:
                synced.stop()

    def _close_sockets(self) -> None:
        """Once no worker accepts any more, callers are refused instead of kept waiting."""
        self._tracker_socket.close()
        self._app_socket.close()
        if self._site_socket:
            self._site_socket.close()

    def _roles(self) -> list[Role]:
        roles = [] if self._settings.redis_url else [self._redis_role()]
        stores = tuple(role.name for role in roles)
        # With a snapshot of the directory visitors need not wait until a large Redis has read its files.
        has_snapshot = self._settings.directory_snapshot.exists()
        trackers = tracker_roles(self._tracker_socket, self._wishes.workers, () if has_snapshot else stores)
        if self._settings.clickhouse_is_embedded:
            apps = [app_role("app", self._app_socket, stores)]
        else:
            apps = [
                app_role("attribution", listen("127.0.0.1", 0), stores),
                app_role("reports", self._app_socket, stores),
            ]
        roles += [*trackers, *apps]
        if self._site_socket:
            others = [role.name for role in roles]
            roles += [self._example_role(others), self._sites_role(self._site_socket, others)]
        held = self._folder.inherited_fd
        return [role.also_passing(held) for role in roles]

    def _redis_role(self) -> Role:
        socket_path = redis_server.redis_socket(self._settings)

        def is_ready() -> bool:
            if not redis_server.is_loaded(socket_path):
                return False
            if self._example:
                self._example.claim(self._redis_url)
            return True

        return Role(
            name="redis",
            command=child("redis"),
            stops=REDIS_STOPS,
            stop_within_seconds=60.0,
            is_ready=is_ready,
            why_it_died=lambda: redis_server.last_log_line(self._settings),
        )

    def _example_role(self, needs: Sequence[str]) -> Role:
        running = self._where()
        command = child("example", "--tracker-url", running.tracker_url, "--sites-url", running.sites_url)
        return Role(name="example", command=command, stops=0, stop_within_seconds=5.0, needs=needs, is_vital=False)

    def _sites_role(self, listening: socket.socket, needs: Sequence[str]) -> Role:
        fd = listening.fileno()
        command = child("sites", "--tracker-url", self._where().tracker_url, "--listen-fd", str(fd))
        return Role(name="sites", command=command, stops=0, needs=needs, pass_fds=(fd,), is_vital=False)

    def _where(self) -> Running:
        host = self._wishes.host
        return Running(
            pid=os.getpid(),
            tracker_url=local_url(host, self._tracker_socket),
            app_url=local_url(host, self._app_socket),
            redis_url=self._redis_url,
            sites_url=local_url(host, self._site_socket) if self._site_socket else "",
        )

    def _print(self, sign_in: Sequence[str]) -> None:
        lines = [
            "",
            "Lasttouch is running. Ctrl-C stops it.",
            "",
            f"  tracker   {self._tracker_url}",
            f"  app       {self._app_url}",
            f"  sign in   {sign_in[0]}",
            f"            {sign_in[1]}",
            f"  data      {self._settings.data}",
        ]
        if self._is_token_new:
            token = self._folder.kept_admin_token()
            lines += [
                "",
                f"  admin token, shown this once and kept in {self._settings.data / 'admin-token'}:",
                f"  {token}",
            ]
        if self._example:
            lines += ["", "  This is EXAMPLE DATA: an invented program with invented partners and visitors (--demo)."]
            lines += [f"  {site:<10}{url}" for site, url in zip(("sites", ""), self._sites.values(), strict=True)]
        print("\n".join(lines), flush=True)


def _listen_for_sites(wishes: Wishes) -> socket.socket:
    """The example sites' socket. Raises SettingError where a port that was asked for is taken."""
    if wishes.site_port is not None:
        return listen(wishes.host, wishes.site_port)
    try:
        return listen(wishes.host, SITE_PORT)
    except SettingError:
        logger.info("port %d is taken; the example sites take a free one (or give --site-port)", SITE_PORT)
        return listen(wishes.host, 0)
