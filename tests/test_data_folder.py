"""The data folder and the embedded Redis in it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tracker import redis_server
from tracker.data_folder import DataFolder, FolderInUse
from tracker.errors import SettingError
from tracker.redis_server import AppendOnlyFiles
from tracker.settings import read_settings


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
