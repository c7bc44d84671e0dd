"""What a test's database is made of, and how one is emptied: quicker than a new one, which takes half a second."""

from __future__ import annotations

from attribution.warehouse import Warehouse

Shape = list[dict[str, str]]

TABLES = """
select name
from system.tables
where database = currentDatabase() and engine not like '%View' and name != 'schema_versions'
"""
SHAPE = """
select name, create_table_query
from system.tables
where database = currentDatabase() and not startsWith(name, 'incoming_')
order by name
"""
INCOMING = """
select name
from system.tables
where database = currentDatabase() and startsWith(name, 'incoming_')
"""
BESIDE = """
select name
from system.databases
where startsWith(name, concat(currentDatabase(), '_'))
"""


def shape_of(warehouse: Warehouse) -> Shape:
    """The definitions of a database's tables, what only the loader makes aside, and the schema files applied."""
    return [*warehouse.rows(SHAPE), *warehouse.rows("select file from schema_versions order by file")]


def empty(warehouse: Warehouse) -> None:
    """Forget every fact and result."""
    for row in warehouse.rows(TABLES):
        warehouse.run("truncate table {table:Identifier}", table=row["name"])


def forget_beside(warehouse: Warehouse) -> None:
    """Drop what the loader made for itself, and the databases beside it: of clients, and of replays."""
    for row in warehouse.rows(INCOMING):
        warehouse.run("drop table {table:Identifier}", table=row["name"])
    for row in warehouse.rows(BESIDE):
        warehouse.run("drop database {database:Identifier}", database=row["name"])
