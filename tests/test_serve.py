"""`lasttouch serve` as an operator knows it: start, crash, restart, stop. All with the real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.serve_run import SOON_SECONDS, Run, children, is_gone, until
from tracker.data_folder import DataFolder

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


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


def test_headers_without_an_end_are_cut_off(run: Run) -> None:
    address = urlsplit(run.where()["tracker_url"])
    with socket.create_connection((address.hostname, address.port), timeout=10) as caller:
        with contextlib.suppress(ConnectionError):
            caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(1000):
                caller.sendall(b"x" * 4096)
        with contextlib.suppress(ConnectionError):
            assert caller.recv(100).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    assert run.get("tracker", "/health/live")[0] == 200


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
    # A worker that started just now may know of the partner only once somebody asked it.
    for _ in range(60):
        assert run.get("tracker", "/a/P-1")[1]["X-Lasttouch"] == "counted"
    accepted = run.pipeline()["accepted"]
    os.kill(run.child("redis-server") if children(run.process.pid, "redis-server") else run.child("redis.sock"), 9)
    status, headers, _ = run.get("tracker", "/a/P-1")
    assert (status, headers["X-Lasttouch"]) == (302, "counted")
    assert run.get("tracker", "/health/ready")[0] == 200, "visitors are served"
    until("the click is there", SOON_SECONDS, lambda: run.pipeline().get("accepted", 0) > accepted)


def test_the_app_that_is_killed_comes_back(run: Run) -> None:
    killed = run.child("--with-attribution")
    os.kill(killed, signal.SIGKILL)
    assert run.get("app", "/health/live")[0] == 200  # asked before it listens again: the answer comes late, not never
    until("the app is ready", SOON_SECONDS, lambda: run.get("app", "/health/ready")[0] == 200)
    until("all is attributed", SOON_SECONDS, lambda: run.pipeline()["attributed"])


def test_audit_asks_the_running_server(run: Run) -> None:
    done = run.cli("audit", "--replay")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with a replay of all facts" in done.stdout
    assert "visitors in Redis with their clicks." in done.stdout
    assert "every one is what the rules give" in done.stdout


def test_a_what_if_asks_the_running_server(run: Run) -> None:
    done = run.cli("whatif", "--window-days", "60", "--first-tier", "25", "--model", "first")
    assert done.returncode == 0, done.stderr
    assert "then: first click within 60 days, 25 % and 5 %" in done.stdout
    assert "nothing was changed" in done.stdout


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
    audited = run.cli("audit", "--replay")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert re.search(r"the touches of [1-9]\d* visitors in Redis", audited.stdout)
    assert not list((run.data / "clickhouse").glob("metadata/*_replay*"))
    asked = run.cli("whatif", "--format", "json", "--allow-self-referral")
    assert json.loads(asked.stdout)["then"]["allow_self_referral"] is True, asked.stderr
    assert DataFolder(run.data).running() is None
