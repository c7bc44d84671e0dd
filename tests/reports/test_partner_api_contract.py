"""The running server and the contract: every operation is there, and answers nothing that the contract does not say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from running_app import App
from test_partner_api_account import BILLING

from reports.partner_api import contract
from reports.partner_api.serving import missing_operations

CONTRACT = Path(contract.__file__).parent / "partner-api.yaml"


def test_every_operation_is_served() -> None:
    assert sorted(missing_operations()) == []


def test_requests_of_all_kinds_get_what_the_contract_says(app: App) -> None:
    """Schemathesis: for each operation, what its schema allows at its limits, and what it does not."""
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    token = app.partner_api("POST", "/tokens", status=201, body={"label": "schemathesis"})["token"]
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(CONTRACT), "--url", f"http://127.0.0.1:{app.port}",
        "--header", f"Authorization: Bearer {token}", "--phases", "coverage,fuzzing,stateful", "--max-examples", "1",
        # It deletes what it is told of: its own token.
        "--exclude-operation-id", "revoke_api_token",
        # A product that is not configured, and dates in the wrong order, are 400s that a schema cannot say.
        "--exclude-checks", "positive_data_acceptance",
        "--generation-deterministic", "--no-shrink", "--no-color", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=app.data)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"Tested: 59\b", done.stdout)
    assert app.send("GET", "/v2/partners/balance", token).status == 200, "the token was revoked on the way"
