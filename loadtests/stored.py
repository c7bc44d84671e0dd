"""What a stopped server has stored, read straight from its embedded ClickHouse.

chDB opens a data folder in one process only, so reading is done by a process of its own:
`python -m loadtests.stored CLICKHOUSE_URL` prints everything as one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribution.client_stores import ClientStores
from attribution.warehouse import Warehouse, load_queries
from loadtests.own_server import ROOT, Server, ServerBroke
from tracker.program import Program

QUERIES = load_queries(Path(__file__).with_name("queries"))
FACT_QUERIES = {
    "partner": "stored_partners",
    "signup": "stored_signups",
    "payment": "stored_payments",
    "refund": "stored_refunds",
    "license_event": "stored_license_events",
}
READ_SECONDS = 300

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """All rows, by the columns of the queries. Nothing is made unique: what is there twice is here twice."""

    clicks: Sequence[Row]
    facts: Mapping[str, Sequence[Row]]
    """Kind of fact → its rows."""
    clients: Sequence[Row]
    """Clients' personal data, each with its `data_center`."""
    nets: Sequence[Row]
    """What the published ledger gives, per payment, tier and partner."""

    @property
    def rows(self) -> int:
        """How many clicks and facts there are."""
        return len(self.clicks) + sum(map(len, self.facts.values()))


def read_stored(server: Server) -> Stored:
    """Everything that a stopped server has stored. Raises ServerBroke."""
    url = f"chdb://{server.data / 'clickhouse'}"
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.stored", url], cwd=ROOT, capture_output=True, text=True, timeout=READ_SECONDS
    )
    if done.returncode != 0:
        raise ServerBroke(f"what is stored could not be read:\n{done.stderr[-4000:]}")
    return Stored(**json.loads(done.stdout.splitlines()[-1]))


def main(url: str) -> None:
    warehouse = Warehouse.open(url)
    data_centers = Program().data_centers
    stores = ClientStores(warehouse, data_centers)
    stored = {
        "clicks": warehouse.rows(QUERIES["stored_clicks"]),
        "facts": {kind: warehouse.rows(QUERIES[query]) for kind, query in FACT_QUERIES.items()},
        "clients": [
            {**row, "data_center": name}
            for name in data_centers
            for row in stores.of(name).rows(QUERIES["stored_clients"])
        ],
        "nets": warehouse.rows(QUERIES["stored_nets"]),
    }
    print(json.dumps(stored))


if __name__ == "__main__":
    main(sys.argv[1])
