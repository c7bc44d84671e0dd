"""Forward-only migrations: numbered SQL files, applied once, in order, and recorded in `schema_versions`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attribution.migration_claim import claimed_schema
from tracker.errors import SettingError

if TYPE_CHECKING:
    from attribution.warehouse import Warehouse

_VERSIONS = """
create table if not exists schema_versions
(
    file       String,
    applied_at DateTime64(3, 'UTC') default now64(3)
)
engine = MergeTree order by file
"""

_COMMENT = re.compile(r"--[^\n]*")


def migrate(warehouse: Warehouse, folder: Path) -> None:
    """Apply the files of `folder` that the database has not seen, by name.

    Of several processes or threads at once one does, and the others find it done (migration_claim.py). A file is
    recorded after its last statement, so a crash repeats the file: statements say `if not exists`. Raises SettingError
    when the database has files that we do not: it belongs to a newer Lasttouch.
    """
    files = {path.name: path for path in sorted(folder.glob("*.sql"))}
    warehouse.run(_VERSIONS)
    if not _unseen(warehouse, files):
        return
    with claimed_schema(warehouse) as require:
        for name in _unseen(warehouse, files):
            for statement in statements(files[name].read_text()):
                require()
                warehouse.run(statement)
            require()
            warehouse.insert("schema_versions", ["file"], [[name]])


def _unseen(warehouse: Warehouse, files: Mapping[str, Path]) -> list[str]:
    """The names of files that the database has not seen, in order."""
    applied = {row["file"] for row in warehouse.rows("select distinct file from schema_versions")}
    if newer := sorted(applied - files.keys()):
        raise SettingError(
            f"database {warehouse.database} was migrated by a newer Lasttouch ({newer[-1]}); install that version"
        )
    return [name for name in files if name not in applied]


def statements(text: str) -> list[str]:
    """The statements of a schema file. They end with `;`; `--` starts a comment (neither occurs inside a literal)."""
    return [part.strip() for part in _COMMENT.sub("", text).split(";") if part.strip()]
