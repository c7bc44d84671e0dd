"""The directory on disk: what was written comes back, and nothing else does."""

from __future__ import annotations

import fcntl
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tracker import packed as packed_module
from tracker import snapshot as snapshot_module
from tracker.packed import Packed
from tracker.snapshot import WRITE_BYTES_PER_SECOND, WRITE_SECONDS, Known, Snapshot

SECRET = b"k" * 32
NOW_S = 1_795_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def known(position: str = "5-0", right_at_s: float = NOW_S, count: int = 500) -> Known:
    links, partners = Packed(), Packed()
    for number in range(count):
        links.put(b"c%d" % number, b"W-%d\tlivechat\t\t" % number)
        partners.put(b"W-%d" % number, b"%d\t" % number)
    return Known(links, partners, position, right_at_s)


def same(one: Known | None, other: Known) -> bool:
    return one is not None and (
        list(one.links.pieces()),
        list(one.partners.pieces()),
        len(one.links),
        len(one.partners),
        one.position,
        one.right_at_s,
        one.was_complete,
    ) == (
        list(other.links.pieces()),
        list(other.partners.pieces()),
        len(other.links),
        len(other.partners),
        other.position,
        other.right_at_s,
        other.was_complete,
    )


@pytest.fixture(autouse=True)
def few_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as they are, most of the time would go into writing empty ones."""
    for module in (packed_module, snapshot_module):
        monkeypatch.setattr(module, "BUCKETS", 64)
    monkeypatch.setattr(packed_module, "PIECE_BUCKETS", 16)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def snapshot(tmp_path: Path, clock: Clock) -> Snapshot:
    return Snapshot(tmp_path / "directory.snapshot", SECRET, clock)


def test_what_was_written_comes_back(snapshot: Snapshot) -> None:
    assert snapshot.read() is None
    for written in (known(), known("0-0", NOW_S - 1, count=0), replace(known(), was_complete=True)):
        snapshot.path.unlink(missing_ok=True)
        assert snapshot.write(written)
        assert same(snapshot.read(), written)
        assert snapshot.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in snapshot.path.parent.iterdir()) == ["directory.lock", "directory.snapshot"]


def test_it_is_written_when_something_changed_and_not_too_often(snapshot: Snapshot, clock: Clock) -> None:
    assert snapshot.write(known("5-0"))
    clock.now_s += WRITE_SECONDS / 2
    assert not snapshot.write(known("6-0", clock.now_s))
    assert same(snapshot.read(), known("5-0"))
    assert snapshot.write(known("5-1", clock.now_s), is_last=True)
    assert not snapshot.write(known("5-1", clock.now_s), is_last=True)
    clock.now_s += WRITE_SECONDS
    assert snapshot.write(known("6-0", clock.now_s))
    clock.now_s += 10 * WRITE_SECONDS
    assert not snapshot.write(known("6-0", clock.now_s)), "it says that already"
    assert same(snapshot.read(), known("6-0", clock.now_s)), "and when it was right is told"
    assert not snapshot.write(known("6-0", clock.now_s - 50))
    assert same(snapshot.read(), known("6-0", clock.now_s)), "a process that lags takes nothing back"


def test_a_large_one_is_written_less_often(snapshot: Snapshot, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "WRITE_BYTES_PER_SECOND", WRITE_BYTES_PER_SECOND / 100)
    assert snapshot.write(known("5-0", count=2000))
    seconds = 100 * snapshot.path.stat().st_size / WRITE_BYTES_PER_SECOND
    assert seconds > WRITE_SECONDS
    clock.now_s += seconds - 1
    assert not snapshot.write(known("6-0"))
    clock.now_s += 2
    assert snapshot.write(known("6-0"))


@pytest.mark.parametrize("place", ["digest", "header", "buckets", "end"])
def test_a_damaged_one_is_not_used_and_gets_replaced(
    snapshot: Snapshot, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    snapshot.write(known())
    data = bytearray(snapshot.path.read_bytes())
    at = {"digest": 3, "header": 80, "buckets": data.index(b"c123\t"), "end": len(data) - 1}[place]
    data[at] ^= 1
    snapshot.path.write_bytes(data)
    assert snapshot.read() is None
    assert len(caplog.records) == 1 and "is not used: it is damaged, or another program's" in caplog.text
    assert snapshot.write(known()) and same(snapshot.read(), known()), "whatever position it claims, and however young"
    assert not snapshot.write(known())


@pytest.mark.parametrize("length", [0, 10, 64, 65, 200, -1, -1000])
def test_a_torn_one_is_not_used(snapshot: Snapshot, caplog: pytest.LogCaptureFixture, length: int) -> None:
    snapshot.write(known())
    snapshot.path.write_bytes(snapshot.path.read_bytes()[:length])
    assert snapshot.read() is None
    assert len(caplog.records) == 1
    assert snapshot.write(known()) and same(snapshot.read(), known())


def test_another_programs_is_not_used(snapshot: Snapshot, caplog: pytest.LogCaptureFixture) -> None:
    snapshot.write(known())
    assert Snapshot(snapshot.path, b"other" * 6).read() is None
    assert "another program's" in caplog.text


def test_another_versions_is_not_used_and_gets_replaced(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(snapshot_module, "FORMAT", "lasttouch directory 0")
        snapshot.write(known())
    assert snapshot.read() is None
    assert "another version's" in caplog.text
    assert snapshot.write(known())


def test_one_that_is_too_large_is_neither_written_nor_read(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot.write(known())
    monkeypatch.setattr(snapshot_module, "MAX_BYTES", snapshot.path.stat().st_size - 1)
    assert snapshot.read() is None and "are allowed" in caplog.text
    snapshot.path.unlink()
    with pytest.raises(OSError, match="more than"):
        snapshot.write(known())
    assert [path.name for path in snapshot.path.parent.iterdir()] == ["directory.lock"]


def test_one_process_writes_at_a_time(snapshot: Snapshot) -> None:
    with snapshot.path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not snapshot.write(known())
    assert snapshot.write(known())


def test_a_disk_that_takes_nothing_keeps_the_old_one(snapshot: Snapshot, clock: Clock) -> None:
    """A limit on the size of files, in a process of its own, in place of a full disk."""
    snapshot.write(known("5-0"))
    program = f"""
import resource, signal, sys
from pathlib import Path
from tests.tracker.test_snapshot import SECRET, known
from tracker.snapshot import Snapshot
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Snapshot(Path({str(snapshot.path)!r}), SECRET).write(known("6-0"))
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 27, done.stderr  # EFBIG
    assert same(snapshot.read(), known("5-0"))
    assert not snapshot.path.with_suffix(".new").exists()


def test_what_a_killed_writer_left_is_overwritten(snapshot: Snapshot) -> None:
    unfinished = snapshot.path.with_suffix(".new")
    unfinished.write_bytes(b"x" * 10_000_000)
    assert snapshot.write(known()) and same(snapshot.read(), known())
    assert not unfinished.exists()


def test_its_header_can_be_read_by_people(snapshot: Snapshot) -> None:
    snapshot.write(known())
    header = json.loads(snapshot.path.read_bytes()[64:].partition(b"\0")[0])
    assert header["position"] == "5-0" and header["format"] == "lasttouch directory 1"


def test_a_folder_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gone = Snapshot(tmp_path / "gone" / "directory.snapshot", SECRET)
    assert gone.read() is None and not caplog.records
    with pytest.raises(OSError):
        gone.write(known())
    (tmp_path / "gone").mkdir()
    assert gone.write(known())
