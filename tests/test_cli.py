"""The command line without a server: flags, settings, and `lasttouch import` on its own."""

from __future__ import annotations

import http.server
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lasttouch
from tracker import import_file
from tracker.import_command import progress_line
from tracker.import_file import ImportFailed, Outcome, Rejected, Tracker, chunks, load_events


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LASTTOUCH_")]:
        monkeypatch.delenv(name)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command ends with when a flag or a setting is wrong (exit code 2)."""
    assert lasttouch.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("command", ["serve", "tracker", "attribution", "reports", "audit", "rebuild", "whatif"])
def test_an_unknown_setting_stops_every_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LASTTOUCH_REDIS_ULR", "redis://localhost")
    line = refused(capsys, command, "--data", str(tmp_path / "data"))
    assert line.startswith(f"lasttouch {command}: LASTTOUCH_REDIS_ULR is not a setting; known are")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LASTTOUCH_REDIS_URL", "localhost:6379", "give redis://host"),
        ("LASTTOUCH_CLICKHOUSE_URL", "chdb://relative", "give http://host"),
        ("LASTTOUCH_TRACKER_URL", "go.example.com", "give http://host"),
        ("LASTTOUCH_ADMIN_TOKEN", "two words", "printable ASCII without blanks"),
        ("LASTTOUCH_TRUSTED_PROXIES", "10.0.0.0/99", "give networks like"),
        ("LASTTOUCH_COUNTRY_HEADER", "User-Agent", "give one of cf-ipcountry"),
        ("LASTTOUCH_COUNTRY_HEADER", "X-Country", "needs LASTTOUCH_TRUSTED_PROXIES"),
        ("LASTTOUCH_COUNTRIES", "/nowhere/countries.mmdb", "No such file"),
        ("LASTTOUCH_COUNTRIES", "pyproject.toml", "is no MMDB file that can be read"),
        ("LASTTOUCH_JOURNAL_CLICKS", "999", "give a whole number, 1000 or more"),
        ("LASTTOUCH_SPOOL_MEGABYTES", "1.5", "give a whole number, 1 or more"),
        ("LASTTOUCH_PROGRAM", "/nowhere/program.toml", "cannot read /nowhere/program.toml"),
    ],
)
def test_a_bad_setting_is_one_line_that_says_how_to_mend_it(
    name: str,
    value: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    line = refused(capsys, "serve", "--data", str(tmp_path))
    assert name in line
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--tracker-port", "http"], "'http' is not a port"),
        (["serve", "--app-port", "65536"], "'65536' is not a port"),
        (["serve", "--workers", "0"], "give 1 to 64"),
        (["serve", "--work", "2"], "unrecognized arguments"),
        (["sreve"], "invalid choice: 'sreve'"),
        ([], "required: COMMAND"),
        (["import"], "required: FILE"),
        (["whatif", "--model", "linear"], "invalid choice: 'linear'"),
        (["whatif", "--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_a_bad_flag_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lasttouch.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_help_lists_commands_and_settings_but_not_what_only_serve_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lasttouch.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for command in lasttouch.COMMANDS:
        assert (f"    {command.name} " in printed or f"    {command.name}\n" in printed) != command.hidden
    assert "LASTTOUCH_TRUSTED_PROXIES" in printed


def test_a_port_in_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(capsys, "serve", "--data", str(tmp_path), "--tracker-port", port)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in line


@pytest.mark.parametrize("role", ["tracker", "attribution", "reports"])
def test_a_role_alone_needs_a_redis(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, role, "--data", str(tmp_path))
    assert "needs LASTTOUCH_REDIS_URL" in line


def test_import_without_a_server_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "import", str(tmp_path / "events.ndjson"), "--data", str(tmp_path))
    assert f"no server runs on {tmp_path}" in line
    assert "LASTTOUCH_TRACKER_URL" in line


def test_import_of_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LASTTOUCH_TRACKER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LASTTOUCH_ADMIN_TOKEN", "token")
    line = refused(capsys, "import", str(tmp_path / "no.ndjson"), "--data", str(tmp_path))
    assert "no.ndjson: No such file or directory" in line


@pytest.mark.parametrize("command", ["audit", "rebuild"])
def test_audit_and_rebuild_of_a_folder_without_data(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{tmp_path} holds no data yet" in refused(capsys, command, "--data", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--window-days", "0"], "--window-days must be a whole number from 1 to 3650"),
        (["--window-days", "a"], "--window-days must be a whole number"),
        (["--first-tier", "120"], "--first-tier must be a number from 0 to 100"),
        (["--second-tier", "2.125"], "--second-tier must have at most two decimals"),
        (["--window-days", "60", "--allow-self-referral"], "holds no data yet"),
    ],
)
def test_a_what_if_that_cannot_be_is_refused(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, "whatif", "--data", str(tmp_path), *arguments)


def test_chunks_are_whole_lines_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "CHUNK_LINES", 3)
    monkeypatch.setattr(import_file, "CHUNK_BYTES", 40)
    monkeypatch.setattr(import_file, "LONGEST_LINE_BYTES", 50)
    lines = [b"1\n", b"2\n", b"3\n", b"4" * 41 + b"\n", b"5" * 200 + b"\n", b"\n", b"7"]
    found = list(chunks(io.BytesIO(b"".join(lines))))
    assert [(chunk.first_line, chunk.lines, chunk.body) for chunk, _ in found] == [
        (1, 3, b"1\n2\n3\n"),
        (4, 1, lines[3]),
        (5, 0, b""),
        (6, 2, b"\n7"),
    ]
    assert [[item.line for item in too_long] for _, too_long in found] == [[], [], [5], []]


class _Away(http.server.BaseHTTPRequestHandler):
    """A tracker that is busy, then away, then takes everything but the second line of each chunk."""

    requests: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(body)
        if len(self.requests) == 1:
            self.send_response(503)
            self.send_header("Retry-After", "7")
            self.end_headers()
        elif len(self.requests) == 2:
            self.close_connection = True
        else:
            bad = {"line": 2, "errors": [{"field": "amount_cents", "message": "is required"}]}
            answer = json.dumps({"accepted": body.count(b"\n") - 1, "duplicates": 0, "rejected": [bad]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing to say."""


@contextmanager
def away() -> Iterator[tuple[str, list[bytes]]]:
    requests: list[bytes] = []
    handler = type("Handler", (_Away,), {"requests": requests})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


def test_import_waits_for_a_busy_tracker_and_numbers_lines_by_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "CHUNK_LINES", 3)
    pauses: list[float] = []
    rejected: list[Rejected] = []
    with away() as (url, requests):
        tracker = Tracker(url, "token", pause=pauses.append)
        outcome = load_events(io.BytesIO(b"a\nb\nc\nd\ne\nf\n"), tracker, lambda _: None, rejected.append)
        tracker.close()
    assert requests == [b"a\nb\nc\n", b"a\nb\nc\n", b"a\nb\nc\n", b"d\ne\nf\n"]
    assert pauses == [7.0, 1.0]
    assert outcome == Outcome(bytes_read=12, lines=6, accepted=4, duplicates=0, rejected=2)
    assert [str(item) for item in rejected] == [
        "line 2: amount_cents: is required",
        "line 5: amount_cents: is required",
    ]


def test_import_gives_up_on_a_tracker_that_stays_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    passed = [0.0]

    def pause(seconds: float) -> None:
        passed[0] += seconds

    with pytest.raises(ImportFailed, match="gave up after 120 s"):
        load_events(io.BytesIO(b"a\n"), Tracker(url, "token", pause, lambda: passed[0]), lambda _: None, lambda _: None)


def test_the_progress_line() -> None:
    outcome = Outcome(bytes_read=3_000_000, lines=20_000)
    line = progress_line(outcome, 12_000_000, 10.0)
    assert line == "[██████░░░░░░░░░░░░░░░░░░]  25%  3.0 of 12.0 MB  20,000 lines  2,000/s  0:30 left"
    assert progress_line(outcome, None, 10.0) == "3.0 MB  20,000 lines  2,000/s"
