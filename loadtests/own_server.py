"""A `lasttouch serve` of one's own, on a data folder of its own: it may be broken in every way.

Tests and `lasttouch bench kill` start the real product with it, ask it as the outside does, and know its processes.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from loadtests.answers import Answer, send
from tracker.errors import LasttouchError

ADMIN_TOKEN = "admin-token-of-the-tests"
READY_SECONDS = 60
ATTRIBUTED_SECONDS = 60
STOP_SECONDS = 30
ROOT = Path(__file__).resolve().parent.parent


class ServerBroke(LasttouchError):
    """The server does not do what it must. The message ends with what it logged last."""


def poll(what: str, seconds: float, ready: Callable[[], Any]) -> Any:
    """The first true value of `ready`, asked again until the deadline. Raises TimeoutError that says `what`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := ready():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.05)


def free_port() -> int:
    """A port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One `lasttouch serve` with embedded stores, on `data`."""

    def __init__(self, data: Path, workers: int = 2, environ: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.workers = workers
        self.tracker_port = free_port()
        self.app_port = free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LASTTOUCH_")}
        self.environ = {
            **clean,
            "LASTTOUCH_ADMIN_TOKEN": ADMIN_TOKEN,
            "LASTTOUCH_TRACKER_URL": f"http://127.0.0.1:{self.tracker_port}",
            "LASTTOUCH_APP_URL": f"http://127.0.0.1:{self.app_port}",
            **(environ or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "lasttouch", *arguments]

    def start(self, seconds: float = READY_SECONDS) -> Server:
        """Start, and wait until both ports say that they are ready. One that is not within so many seconds is ended."""
        self.launch()
        try:
            self.wait_until_ready(seconds)
        except ServerBroke:
            self.kill_all()
            raise
        return self

    def launch(self) -> None:
        """Start, and do not wait."""
        arguments = ["serve", "--data", str(self.data), "--host", "127.0.0.1", "--workers", str(self.workers)]
        arguments += ["--tracker-port", str(self.tracker_port), "--app-port", str(self.app_port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*arguments), cwd=ROOT, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise ServerBroke(f"serve ended with {self.process.returncode}:\n{self.log_tail()}")
            return self.is_ready(self.tracker_port) and self.is_ready(self.app_port)

        try:
            poll("serve is ready", seconds, ready)
        except TimeoutError as error:
            raise ServerBroke(f"{error}\n{self.log_tail()}") from None

    @staticmethod
    def is_ready(port: int) -> bool:
        try:
            return send(port, "GET", "/health/ready", seconds=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> int:
        """SIGTERM, as an operator does it. The exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise ServerBroke(f"serve did not stop within {STOP_SECONDS} seconds\n{self.log_tail()}") from None

    def processes(self) -> dict[int, str]:
        """The processes of this server: pid → command line; `serve` itself and all that it started."""
        assert self.process is not None
        parents: dict[int, int] = {}
        commands: dict[int, str] = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                stat = (folder / "stat").read_text()
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended while we looked
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
                commands[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: commands[pid] for pid in found if pid in commands}

    def kill_supervisor(self) -> None:
        """`kill -9` of `serve` alone; its children should end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def kill_all(self) -> None:
        """`kill -9` of every process at once: stopped first, so that none sees another one die."""
        assert self.process is not None
        pids = list(self.processes())
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, sent)
        self.process.wait(10)

    def tracker(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        return send(self.tracker_port, method, target, body, headers)

    def api(self, target: str, body: bytes | str | Mapping[str, Any], method: str = "POST") -> Answer:
        """A call of the Conversions API as admin."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
        return send(self.tracker_port, method, target, body, headers)

    def admin(self, target: str, **query: str | int) -> Any:
        """A call of the app as admin: its JSON."""
        full = f"{target}?{urlencode(query)}" if query else target
        answer = send(self.app_port, "GET", full, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        if answer.status != 200:
            raise ServerBroke(f"GET {full} answered {answer.status}: {answer.body[:2000]!r}")
        return answer.json

    def pipeline(self) -> dict[str, Any]:
        answer = send(self.tracker_port, "GET", "/v1/pipeline", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        if answer.status != 200:
            raise ServerBroke(f"GET /v1/pipeline answered {answer.status}: {answer.body[:2000]!r}")
        pipeline: dict[str, Any] = answer.json
        return pipeline

    def attributed(self, seconds: float = ATTRIBUTED_SECONDS) -> dict[str, Any]:
        """Wait until everything that was accepted is in the ledger's and reports' results."""

        def caught_up() -> dict[str, Any] | None:
            pipeline = self.pipeline()
            return pipeline if pipeline["attributed"] else None

        try:
            found: dict[str, Any] = poll("attributed", seconds, caught_up)
        except TimeoutError as error:
            raise ServerBroke(f"{error}: {self.pipeline()}\n{self.log_tail()}") from None
        return found

    def lines(self, **query: str | int) -> list[dict[str, Any]]:
        """Ledger lines of `/v2/admin/commissions`, all pages."""
        lines: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.admin("/v2/admin/commissions", **query, **cursor)
            lines += page["items"]
            if not page["next_cursor"]:
                return lines
            cursor = {"cursor": page["next_cursor"]}

    def run(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Another command of `lasttouch` on the same data folder."""
        return subprocess.run(
            [*self.command(*arguments), "--data", str(self.data)],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
        )


def serving(folder: Path, **given: Any) -> Iterator[Server]:
    """A running server on a fresh data folder in `folder`; ends with its processes gone."""
    server = Server(folder / "data", **given)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
