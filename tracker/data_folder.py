"""The data folder: who may use it, its admin token, and what a running server tells other commands.

serve.lock     held by `lasttouch serve` (or a command that opens the stores itself); has the holder's process id
children.lock  held by every process of a run, so that a new run can wait for the last one's to be gone
serve.json     where the running server is (mode 0600); removed when it stops
admin-token    the admin token, unless LASTTOUCH_ADMIN_TOKEN gives one (mode 0600)
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tracker.errors import LasttouchError
from tracker.settings import Settings


class FolderInUse(LasttouchError):
    """Another process works on the data folder. The message is the line that the operator reads."""


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running server is. Written to `serve.json`."""

    pid: int
    tracker_url: str
    app_url: str
    redis_url: str
    sites_url: str = ""
    """Of the example sites; empty without them."""


class DataFolder:
    """One data folder. Nothing is written before `lock` or `admin_token` is called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._serve_lock: IO[str] | None = None
        self._children_lock: IO[str] | None = None

    def lock(self, wait_seconds: float = 20.0) -> None:
        """Take the folder for this process. Leftovers of a run that was killed are waited for, up to `wait_seconds`.

        Raises FolderInUse, at once where another server runs. The locks end with the process, however it ends.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._serve_lock = _try_lock(self.path / "serve.lock")
        if self._serve_lock is None:
            raise FolderInUse(
                f"{self.path} is in use by {self._holder()}; stop that one first, or give another folder with --data"
            )
        self._serve_lock.truncate(0)
        self._serve_lock.write(str(os.getpid()))
        self._serve_lock.flush()
        deadline = time.monotonic() + wait_seconds
        while (children := _try_lock(self.path / "children.lock")) is None:
            if time.monotonic() > deadline:
                self.unlock()
                raise FolderInUse(
                    f"processes of an earlier, killed run still use {self.path} after {wait_seconds:.0f} s; "
                    "find them with `ps -ef | grep lasttouch` and end them"
                )
            time.sleep(0.05)
        self._children_lock = children

    @property
    def inherited_fd(self) -> int:
        """The descriptor that every child of a run inherits; as long as one lives, `children.lock` is held."""
        if self._children_lock is None:
            raise RuntimeError("lock() comes first")
        return self._children_lock.fileno()

    def unlock(self) -> None:
        """Give the folder back."""
        for held in (self._children_lock, self._serve_lock):
            if held is not None:
                held.close()
        self._children_lock = self._serve_lock = None

    def is_served(self) -> bool:
        """Whether another process holds the folder now."""
        if not (self.path / "serve.lock").exists():
            return False
        probe = _try_lock(self.path / "serve.lock")
        if probe is None:
            return True
        probe.close()
        return False

    def publish(self, running: Running) -> None:
        """Tell other commands where the server is."""
        _write_private(self.path / "serve.json", json.dumps(asdict(running)))

    def withdraw(self) -> None:
        """The server is no more."""
        (self.path / "serve.json").unlink(missing_ok=True)

    def running(self) -> Running | None:
        """Where the server of this folder is, or None when none runs."""
        if not self.is_served():
            return None
        try:
            return Running(**json.loads((self.path / "serve.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def admin_token(self, settings: Settings) -> tuple[str, bool]:
        """The admin token, and whether it was made just now."""
        if settings.admin_token is not None:
            return settings.admin_token, False
        path = self.path / "admin-token"
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = f"lt_a_{secrets.token_urlsafe(32)}"
        temporary = self.path / f"admin-token.{os.getpid()}"
        _write_private(temporary, made + "\n")
        try:
            os.link(temporary, path)  # fails where the file exists: of two processes that start at once, one wins
            return made, True
        except FileExistsError:
            return path.read_text().strip(), False
        finally:
            temporary.unlink()

    def kept_admin_token(self) -> str | None:
        """The admin token in the folder, or None where there is none (yet)."""
        try:
            return (self.path / "admin-token").read_text().strip() or None
        except OSError:
            return None

    def _holder(self) -> str:
        text = (self.path / "serve.lock").read_text().strip()
        return f"process {text}" if text.isdigit() else "another process"


def _try_lock(path: Path) -> IO[str] | None:
    """The file, locked for us alone, or None when somebody else has it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _write_private(path: Path, text: str) -> None:
    """Write `text` so that only we can read it, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
