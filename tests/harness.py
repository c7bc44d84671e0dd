"""Starts the real product and scripts people through it, over HTTP and with the standard library only.

`Server` is one `lasttouch serve` on a data folder of its own. `Journey` is one story on it, with ids that no other
story has. `Visitor` is a browser with a cookie jar.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

ADMIN_TOKEN = "admin-token-of-the-tests"
READY_SECONDS = 60
ANSWER_SECONDS = 30
ATTRIBUTED_SECONDS = 60
STOP_SECONDS = 30
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP. Headers are looked up without case."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["Location"] or ""

    @property
    def query(self) -> dict[str, str]:
        """The query of where a redirect leads."""
        return dict(parse_qsl(urlsplit(self.location).query, keep_blank_values=True))

    @property
    def said(self) -> str | None:
        """The redirect's verdict."""
        return self.headers["X-Lasttouch"]

    def cookie(self, name: str) -> str | None:
        """The value that a Set-Cookie header gives `name`."""
        for line in self.headers.get_all("Set-Cookie") or []:
            if line.startswith(f"{name}="):
                return str(line.partition("=")[2].partition(";")[0])
        return None


def send(
    port: int,
    method: str,
    target: str,
    body: bytes | str | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = ANSWER_SECONDS,
) -> Answer:
    """One request on a connection of its own. A mapping is sent as JSON. Raises OSError or HTTPException."""
    sent = dict(headers or {})
    if isinstance(body, Mapping):
        body = json.dumps(body)
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, target, body=body.encode() if isinstance(body, str) else body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


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

    def start(self) -> Server:
        """Start, and wait until both ports say that they are ready."""
        arguments = ["serve", "--data", str(self.data), "--host", "127.0.0.1", "--workers", str(self.workers)]
        arguments += ["--tracker-port", str(self.tracker_port), "--app-port", str(self.app_port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*arguments), cwd=ROOT, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"serve ended with {self.process.returncode}:\n{self.log_tail()}")
            return self.is_ready(self.tracker_port) and self.is_ready(self.app_port)

        try:
            poll("serve is ready", READY_SECONDS, ready)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log_tail()}") from None

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
            raise TimeoutError(f"serve did not stop within {STOP_SECONDS} seconds\n{self.log_tail()}") from None

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
            raise AssertionError(f"GET {full} answered {answer.status}: {answer.body[:2000]!r}")
        return answer.json

    def pipeline(self) -> dict[str, Any]:
        answer = send(self.tracker_port, "GET", "/v1/pipeline", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert answer.status == 200, answer.body
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
            raise TimeoutError(f"{error}: {self.pipeline()}\n{self.log_tail()}") from None
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


@dataclass
class Visitor:
    """A browser: sends its cookies back, and nothing else that would know it again."""

    server: Server
    user_agent: str = BROWSER
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.cookies["lt_vid"]

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Follow a link. `headers` are named with underscores: `Sec_GPC="1"`."""
        sent = {"User-Agent": self.user_agent, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = send(self.server.tracker_port, method, target, headers=sent)
        if value := answer.cookie("lt_vid"):
            self.cookies["lt_vid"] = value
        return answer

    def click(self, partner_id: str, product: str = "", **query: str) -> Answer:
        """Follow a partner's direct link; it must count."""
        target = f"/a/{partner_id}" + (f"/{product}" if product else "") + (f"?{urlencode(query)}" if query else "")
        answer = self.get(target)
        assert (answer.status, answer.said) == (302, "counted"), (answer.status, answer.said)
        return answer


_stories = itertools.count(1)


class Journey:
    """One story, with ids of its own. Calls answer the JSON and raise AssertionError unless they succeeded."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = f"{next(_stories)}-{uuid.uuid4().hex[:6]}"

    def id(self, name: str) -> str:
        """An id of this story."""
        return f"{name}.{self.key}"

    def visitor(self, user_agent: str = BROWSER) -> Visitor:
        return Visitor(self.server, user_agent)

    def call(self, path: str, body: Mapping[str, Any], *, status: int = 201) -> dict[str, Any]:
        answer = self.server.api(path, {name: value for name, value in body.items() if value is not None})
        assert answer.status == status, f"{path} {body} answered {answer.status}: {answer.body.decode()}"
        found: dict[str, Any] = answer.json
        return found

    def join(self, name: str, /, **given: Any) -> dict[str, Any]:
        """A partner joins: `name` becomes their id and e-mail in this story, unless given."""
        body = {"partner_id": self.id(name), "email": f"{self.id(name)}@partners.example", "name": f"Partner {name}"}
        return self.call("/v1/partners", {**body, **given})

    def sign_up(self, name: str, /, **given: Any) -> dict[str, Any]:
        body = {"license_id": self.id(name), "product": "livechat"}
        return self.call("/v1/signups", {**body, **given})

    def pay(self, license_name: str, payment_name: str, amount_cents: int, **given: Any) -> dict[str, Any]:
        body = {"payment_id": self.id(payment_name), "license_id": self.id(license_name)}
        return self.call("/v1/payments", {**body, "amount_cents": amount_cents, "currency": "USD", **given})

    def refund(self, payment_name: str, refund_name: str, amount_cents: int, kind: str = "refund") -> dict[str, Any]:
        body = {"refund_id": self.id(refund_name), "payment_id": self.id(payment_name)}
        return self.call("/v1/refunds", {**body, "amount_cents": amount_cents, "kind": kind})

    def partner_event(self, event_name: str, partner_name: str, kind: str, **given: Any) -> dict[str, Any]:
        body = {"event_id": self.id(event_name), "partner_id": self.id(partner_name), "kind": kind}
        return self.call("/v1/partner-events", {**body, **given})

    def license_event(self, event_name: str, license_name: str, kind: str, **given: Any) -> dict[str, Any]:
        body = {"event_id": self.id(event_name), "license_id": self.id(license_name), "kind": kind}
        return self.call("/v1/license-events", {**body, **given})

    def import_lines(self, lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Load facts in bulk; the answer's `accepted`, `duplicates`, `rejected`."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        answer = self.server.api("/v1/import", text)
        assert answer.status == 200, f"import answered {answer.status}: {answer.body.decode()}"
        found: dict[str, Any] = answer.json
        return found

    def attributed(self) -> dict[str, Any]:
        return self.server.attributed()

    def ledger(self, payment_name: str) -> list[dict[str, Any]]:
        """The ledger's lines of a payment of this story, newest or oldest first as the API gives them."""
        return self.server.lines(payment_id=self.id(payment_name))

    def net(self, payment_name: str) -> dict[tuple[int, str], int]:
        """(tier, partner id) → net cents of a payment; zeros are left out."""
        return sums(self.ledger(payment_name))

    def attribution(self, license_name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.admin(f"/v2/admin/licenses/{self.id(license_name)}/attribution")
        return found


def sums(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str], int]:
    """(tier, partner id) → cents of ledger lines; zeros are left out."""
    net: dict[tuple[int, str], int] = {}
    for line in lines:
        key = (line["tier"], line["partner_id"])
        net[key] = net.get(key, 0) + line["amount_cents"]
    return {key: cents for key, cents in net.items() if cents}


def serving(folder: Path, **given: Any) -> Iterator[Server]:
    """A running server on a fresh data folder in `folder`; ends with its processes gone."""
    server = Server(folder / "data", **given)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
