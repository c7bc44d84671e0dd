"""A `lasttouch serve` of a test's own, as an operator starts it, on free ports."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 90.0
SOON_SECONDS = 30.0


def until(what: str, seconds: float, holds: Callable[[], Any]) -> Any:
    """The first true value of `holds`."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return value


class Run:
    """A `lasttouch serve` on free ports. What it prints goes to files next to its data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("LASTTOUCH_")}
        self.process: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(ROOT / "lasttouch.py"), *arguments, "--data", str(self.data)]

    def start(self, *flags: str) -> Run:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        ports = ("--tracker-port", "0", "--app-port", "0", "--workers", "2")
        with self.file("out").open("wb") as out, self.file("err").open("ab") as err:
            self.process = subprocess.Popen(
                self.command("serve", *ports, *flags), stdout=out, stderr=err, env=self.environ
            )
        until("the server says that it runs", READY_SECONDS, self.has_announced)
        return self

    def has_announced(self) -> bool:
        assert self.process.poll() is None, self.said("err")
        return "Lasttouch is running" in self.said("out")

    def file(self, name: str) -> Path:
        return self.data.parent / f"{self.data.name}.{name}"

    def said(self, name: str) -> str:
        return self.file(name).read_text(errors="replace")

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same data folder."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environ)

    def where(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "serve.json").read_text())
        return found

    def get(self, port: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """An answer of the `tracker` or the `app`."""
        token = (self.data / "admin-token").read_text().strip()
        connection = http.client.HTTPConnection(urlsplit(self.where()[f"{port}_url"]).netloc, timeout=20)
        try:
            agent = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
            connection.request(
                "GET", path, headers={"Authorization": f"Bearer {token}", "User-Agent": agent, **headers}
            )
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def pipeline(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("tracker", "/v1/pipeline")[2])
        return found

    def child(self, words: str) -> int:
        """The process id of the child whose command line has `words`, once it runs."""
        return int(until(words, SOON_SECONDS, lambda: next(iter(children(self.process.pid, words)), None)))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SOON_SECONDS)


def children(parent: int, words: str = "") -> list[int]:
    """Child processes of `parent` whose command line has `words`."""
    try:
        pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return []
    return [int(pid) for pid in pids if words in command_line(int(pid))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
