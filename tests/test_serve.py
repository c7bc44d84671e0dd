"""`lasttouch serve` as an operator knows it: start, crash, restart, stop. All with the real processes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tracker import redis_server, supervisor
from tracker.data_folder import DataFolder, FolderInUse
from tracker.errors import SettingError
from tracker.redis_server import AppendOnlyFiles
from tracker.settings import read_settings
from tracker.supervisor import Role, RunFailed, Supervisor

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 90.0
SOON_SECONDS = 30.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


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

    def start(self) -> Run:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        ports = ("--tracker-port", "0", "--app-port", "0", "--workers", "2")
        with self.file("out").open("wb") as out, self.file("err").open("ab") as err:
            self.process = subprocess.Popen(self.command("serve", *ports), stdout=out, stderr=err, env=self.environ)
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

    def get(self, port: str, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """An answer of the `tracker` or the `app`."""
        token = (self.data / "admin-token").read_text().strip()
        connection = http.client.HTTPConnection(urlsplit(self.where()[f"{port}_url"]).netloc, timeout=20)
        try:
            agent = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "User-Agent": agent})
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


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One server for the tests of this module. Its path is too long for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="lt-serve-") as folder:
        started = Run(Path(folder) / ("long" * 25) / "data").start()
        yield started
        if started.process.poll() is None:
            started.stop()


def test_it_prints_where_it_is_and_the_admin_token_once(run: Run) -> None:
    said = run.said("out")
    token = (run.data / "admin-token").read_text().strip()
    assert urlsplit(run.where()["tracker_url"]).port
    for url in (run.where()["tracker_url"], run.where()["app_url"]):
        assert url.replace("127.0.0.1", "localhost") in said
    assert said.count(token) == 1
    for name in ("admin-token", "serve.json", "secret.key"):
        assert stat.S_IMODE((run.data / name).stat().st_mode) == 0o600


def test_both_ports_answer_health_checks(run: Run) -> None:
    for port in ("tracker", "app"):
        assert run.get(port, "/health/live")[0] == 200
        assert run.get(port, "/health/ready")[0] == 200


def test_the_printed_link_signs_an_admin_in_once(run: Run) -> None:
    (link,) = [word for word in run.said("out").split() if "/sign-in?" in word]
    path = urlsplit(link).path + "?" + urlsplit(link).query
    status, headers, _ = run.get("app", path)
    assert status in (302, 303)
    assert "lt_session=" in headers["Set-Cookie"]
    assert "lt_session=" not in (run.get("app", path)[1]["Set-Cookie"] or "")


def test_a_second_start_on_the_same_folder_is_refused(run: Run) -> None:
    done = run.cli("serve", "--tracker-port", "0", "--app-port", "0")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{run.data} is in use by process {run.process.pid}" in done.stderr


def test_import_lists_bad_lines_by_their_number_in_the_file(run: Run, tmp_path: Path) -> None:
    join = {"type": "partner", "partner_id": "P-1", "name": "Pat", "email": "pat@example.com"}
    lines = [json.dumps(join), "", "{broken", json.dumps({**join, "partner_id": "no spaces", "email": "x@example.com"})]
    file, rejects = tmp_path / "events.ndjson", tmp_path / "rejects.ndjson"
    file.write_text("\n".join(lines))
    done = run.cli("import", str(file), "--rejects", str(rejects))
    assert done.returncode == 1
    assert "3 lines" in done.stdout or "4 lines" in done.stdout
    assert "1 accepted, 0 known already, 2 rejected" in done.stdout
    assert "line 3: " in done.stderr
    assert "line 4: partner_id: " in done.stderr
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [3, 4]
    file.write_text(lines[0])
    again = run.cli("import", str(file))
    assert again.returncode == 0
    assert "0 accepted, 1 known already, 0 rejected" in again.stdout


def test_a_tracker_worker_that_is_killed_comes_back(run: Run) -> None:
    killed = run.child("--worker 1 ")
    os.kill(killed, signal.SIGKILL)
    assert run.get("tracker", "/a/P-1")[0] == 302
    until(
        "another worker 1", SOON_SECONDS, lambda: [p for p in children(run.process.pid, "--worker 1 ") if p != killed]
    )
    until("it is ready", SOON_SECONDS, lambda: run.said("err").count("tracker-1 is ready") >= 2)


def test_redis_that_is_killed_comes_back_and_redirects_go_on(run: Run) -> None:
    accepted = run.pipeline()["accepted"]
    os.kill(run.child("redis-server") if children(run.process.pid, "redis-server") else run.child("redis.sock"), 9)
    status, headers, _ = run.get("tracker", "/a/P-1")
    assert (status, headers["X-Lasttouch"]) == (302, "counted")
    until("the tracker is ready", SOON_SECONDS, lambda: run.get("tracker", "/health/ready")[0] == 200)
    until("the click is there", SOON_SECONDS, lambda: run.pipeline()["accepted"] > accepted)


def test_the_app_that_is_killed_comes_back(run: Run) -> None:
    killed = run.child("--with-attribution")
    os.kill(killed, signal.SIGKILL)
    assert run.get("app", "/health/live")[0] == 200  # asked before it listens again: the answer comes late, not never
    until("the app is ready", SOON_SECONDS, lambda: run.get("app", "/health/ready")[0] == 200)
    until("all is attributed", SOON_SECONDS, lambda: run.pipeline()["attributed"])


def test_audit_asks_the_running_server(run: Run) -> None:
    done = run.cli("audit")
    assert done.returncode == 0, done.stderr
    assert "every one is what the rules give" in done.stdout


def test_the_quarantine_is_listed_and_what_is_not_there_is_not_put_back(run: Run) -> None:
    assert run.cli("quarantine").stdout == "Nothing is in quarantine.\n"
    done = run.cli("quarantine", "--replay", "no-such-id")
    assert done.returncode == 1
    assert "0 put back" in done.stdout
    assert "no-such-id is not in quarantine" in done.stdout


def test_rebuild_asks_the_running_server(run: Run) -> None:
    done = run.cli("rebuild")
    assert done.returncode == 0, done.stderr
    assert "partners: 0 put back" in done.stdout
    until("loading goes on", SOON_SECONDS, lambda: run.get("app", "/health/ready")[0] == 200)


def test_a_supervisor_that_is_killed_takes_its_children_along_and_a_new_start_works(run: Run) -> None:
    accepted = until("all is attributed", SOON_SECONDS, lambda: run.pipeline()["attributed"] and run.pipeline())
    old = children(run.process.pid)
    assert len(old) == 4
    run.process.kill()
    run.process.wait(10)
    run.start()
    assert [pid for pid in old if not is_gone(pid)] == []
    assert (run.data / "admin-token").read_text().strip() not in run.said("out")
    assert run.pipeline()["accepted"] == accepted["accepted"]


def test_sigterm_stops_everything_cleanly(run: Run) -> None:
    mine = children(run.process.pid)
    assert run.stop() == 0
    assert run.said("out").endswith("Lasttouch has stopped.\n")
    assert [pid for pid in mine if not is_gone(pid)] == []
    assert not (run.data / "serve.json").exists()


def test_audit_and_rebuild_work_with_the_server_stopped(run: Run) -> None:
    assert run.process.poll() is not None, "the test before stops the server"
    rebuilt = run.cli("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    audited = run.cli("audit")
    assert audited.returncode == 0, audited.stderr
    assert DataFolder(run.data).running() is None


# ── The supervisor, with small processes ──────────────────────────────────────────────────────────

READY = "i=$0; while [ $# -gt 1 ]; do shift; done; echo ready > /proc/self/fd/$1; "


def script(name: str, text: str, stops: int = 1, needs: Sequence[str] = ()) -> Role:
    """A role that is a shell script; it says that it is ready first."""
    return Role(name, ["/bin/sh", "-c", READY + text, name], stops=stops, stop_within_seconds=5.0, needs=needs)


async def supervise(roles: Sequence[Role], then: Callable[[], None]) -> None:
    async def announce() -> None:
        then()

    stopping: list[str] = []
    try:
        await Supervisor(roles, os.environ).run(announce, lambda: stopping.append("told"))
    finally:
        assert stopping == ["told"]


def test_roles_start_after_what_they_need_and_stop_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    loop = f"trap 'echo $i stops >> {log}; exit 0' TERM; echo $i starts >> {log}; while :; do sleep 0.05; done"
    roles = [
        script("late", loop, stops=0, needs=["early"]),
        script("early", loop, stops=1),
    ]
    asyncio.run(supervise(roles, lambda: until_lines(log, 2)))
    assert log.read_text().splitlines() == ["early starts", "late starts", "late stops", "early stops"]


def until_lines(log: Path, count: int) -> None:
    until("all have started", 10, lambda: log.exists() and len(log.read_text().splitlines()) == count)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_role_that_keeps_dying_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.01)
    with pytest.raises(RunFailed, match=r"weak ended with exit code 7; that was more than 10 times in 60 seconds"):
        asyncio.run(supervise([script("weak", "exit 7"), script("strong", "exec sleep 60")], lambda: None))


def test_a_wrong_setting_is_not_tried_again() -> None:
    broken = Role("broken", ["/bin/sh", "-c", "exit 2", "broken"], stops=1)
    with pytest.raises(RunFailed, match="broken did not start"):
        asyncio.run(supervise([broken], lambda: None))


def test_a_role_that_ignores_the_stop_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    deaf = Role("deaf", ["/bin/sh", "-c", "trap '' TERM; " + READY + "while :; do sleep 0.05; done", "deaf"], 1, 0.3)
    asyncio.run(supervise([deaf], lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert "deaf did not stop in 0.3 s and is killed" in caplog.text


# ── The data folder and the embedded Redis ────────────────────────────────────────────────────────


def test_a_folder_is_held_once_and_a_leftover_file_does_not_hold_it(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").write_text("1")
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.lock()
    assert second.is_served()
    with pytest.raises(FolderInUse, match=f"in use by process {os.getpid()}"):
        second.lock()
    first.unlock()
    assert not second.is_served()
    second.lock()
    second.unlock()


def orphaned(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A child of a run on `folder` whose supervisor is gone; it lives on for `seconds`."""
    killed = DataFolder(folder)
    killed.lock()
    child = subprocess.Popen(["/bin/sleep", str(seconds)], pass_fds=[killed.inherited_fd])
    killed.unlock()
    return child


def test_a_start_waits_for_the_children_of_a_killed_run(tmp_path: Path) -> None:
    began = time.monotonic()
    with orphaned(tmp_path, 0.4):
        folder = DataFolder(tmp_path)
        folder.lock(wait_seconds=20)
        assert 0.3 < time.monotonic() - began < 10
        folder.unlock()


def test_a_start_does_not_wait_for_ever_for_the_children_of_a_killed_run(tmp_path: Path) -> None:
    with orphaned(tmp_path, 60) as child:
        folder = DataFolder(tmp_path)
        with pytest.raises(FolderInUse, match="processes of an earlier, killed run still use"):
            folder.lock(wait_seconds=0.1)
        assert not folder.is_served()
        child.kill()


def test_two_processes_that_make_the_admin_token_agree(tmp_path: Path) -> None:
    settings = read_settings({}, str(tmp_path))
    made, is_new = DataFolder(tmp_path).admin_token(settings)
    kept, is_new_again = DataFolder(tmp_path).admin_token(settings)
    assert (made, is_new, is_new_again) == (kept, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_without_a_system_redis_the_carried_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    path, version = redis_server.find_redis_server()
    assert version >= (6, 2)
    assert "site-packages" in path


def test_files_of_a_newer_redis_are_refused_by_an_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings({}, str(tmp_path))
    (settings.redis_socket.parent / "appendonlydir").mkdir(parents=True)
    monkeypatch.setattr(redis_server, "find_redis_server", lambda: ("/old/redis-server", (6, 2)))
    with pytest.raises(SettingError, match=r"was written by Redis 7 or newer"):
        redis_server.prepare(settings)


def test_a_kill_of_redis_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """What the settings promise: with the kernel before the answer, and on the disk within a second."""
    settings = read_settings({}, str(tmp_path))
    with redis_server.running(settings) as url:
        client = redis.Redis.from_url(url)
        policies: Any = client.config_get("append*")
        assert (policies["appendonly"], policies["appendfsync"]) == ("yes", "no")
        pid: Any = client.info("server")
        for number in range(500):
            client.rpush("acknowledged", number)
        os.kill(pid["process_id"], signal.SIGKILL)
        client.close()
    with redis_server.running(settings) as url:
        client = redis.Redis.from_url(url)
        assert client.llen("acknowledged") == 500
        client.close()


def test_append_only_files_are_synced_when_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    file = folder / "appendonly.aof.1.incr.aof"
    file.write_text("a")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    files = AppendOnlyFiles(tmp_path)
    files.sync()
    files.sync()
    assert synced == [file.name]
    file.write_text("ab")
    files.sync()
    assert synced == [file.name, file.name]
