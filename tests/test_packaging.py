"""What is installed is what is here: packages, their files, and the lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
LOCKS = ("requirements.lock", "requirements-test.lock")


def package_folders() -> list[Path]:
    """Folders of the product that hold Python modules."""
    rooms = {package.partition(".")[0] for package in SETUPTOOLS["packages"]}
    return sorted({path.parent for room in rooms for path in (ROOT / room).rglob("*.py")})


def test_every_package_is_listed() -> None:
    found = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in package_folders()}
    assert found == set(SETUPTOOLS["packages"])


def test_every_data_file_is_installed() -> None:
    """A file that no pattern of `package-data` takes would be missing from an installed Lasttouch."""
    missing = []
    for room in {package.partition(".")[0] for package in SETUPTOOLS["packages"]}:
        patterns = SETUPTOOLS["package-data"].get(room, [])
        taken = {path for pattern in patterns for path in (ROOT / room).glob(pattern)}
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md") and path not in taken:
                missing.append(str(path.relative_to(ROOT)))
    assert missing == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_no_address(lock: str) -> None:
    """Where packages come from is the business of pip's own settings."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    for line in text.splitlines():
        assert re.fullmatch(
            r"(?:[a-z0-9._-]+==[^\s/:@]+(?: ; [^/:@]+)? \\| {4}--hash=sha256:[0-9a-f]{64}(?: \\)?)", line
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_every_dependency(lock: str) -> None:
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
    wanted = list(PYPROJECT["project"]["dependencies"])
    if lock == "requirements-test.lock":
        wanted += PYPROJECT["project"]["optional-dependencies"]["test"]
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower() for one in wanted}
    assert names <= pinned


def test_both_locks_agree() -> None:
    pins = [dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS]
    shared = pins[0].keys() & pins[1].keys()
    assert len(shared) > 10
    assert {name: pins[0][name] for name in shared} == {name: pins[1][name] for name in shared}


def test_ci_runs_make_test() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("target", ["install", "run", "test", "lint", "lock"])
def test_make_has_the_target(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_no_python_that_is_new_enough_is_one_clear_message(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / ".ci/venv"), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()
