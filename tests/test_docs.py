"""Every setting and every command is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import lasttouch
from tracker.flags import DATA
from tracker.settings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "compose.yaml", ROOT / "Dockerfile"])


@pytest.mark.parametrize("name", VARIABLES)
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `{name}` |" in SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_only_settings_that_exist_are_named(page: Path) -> None:
    named = set(re.findall(r"LASTTOUCH_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
    assert named <= set(VARIABLES)


@pytest.mark.parametrize("command", [c for c in lasttouch.COMMANDS if not c.hidden], ids=lambda c: c.name)
def test_every_command_and_flag_is_documented(command: lasttouch.Command) -> None:
    (row,) = [line for line in SETTINGS.splitlines() if line.startswith(f"| `lasttouch {command.name}")]
    for flag in command.flags:
        if flag.how.get("help") != lasttouch.HIDDEN and flag is not DATA:
            assert (flag.how["metavar"] if flag.name == "file" else flag.name) in row


def test_only_commands_that_exist_are_named() -> None:
    exist = {command.name for command in lasttouch.COMMANDS if not command.hidden}
    for page in PAGES:
        named = set(re.findall(r"`lasttouch ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= exist, page


def test_every_command_takes_the_data_folder_and_has_help() -> None:
    for command in lasttouch.COMMANDS:
        assert DATA in command.flags
        assert command.run.__doc__


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_files_that_the_readme_names_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tracker|attribution|reports)/[\w./]*)`", readme))
    assert len(named) >= 6
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_compose_runs_every_role_on_known_settings() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == {"redis", "clickhouse", "tracker", "attribution", "reports"}
    exist = {command.name for command in lasttouch.COMMANDS if not command.hidden}
    for role in ("tracker", "attribution", "reports"):
        assert services[role]["command"][0] in exist
        assert set(services[role]["environment"]) <= set(VARIABLES)
        assert {"LASTTOUCH_REDIS_URL", "LASTTOUCH_CLICKHOUSE_URL"} <= set(services[role]["environment"])
        assert set(services[role]["depends_on"]) <= set(services)
    assert "noeviction" in services["redis"]["command"]
