"""The example program of `--demo`: it fills an empty folder, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from loadtests import example_program
from loadtests.example_history import history
from loadtests.example_partners import PARTNERS
from tests.serve_run import SOON_SECONDS, Run, until
from tracker import redis_keys
from tracker.bodies import Reading, read_body
from tracker.errors import SettingError
from tracker.program import Program


def test_the_example_fills_an_empty_folder_and_sends_visitors(tmp_path: Path) -> None:
    run = Run(tmp_path / "data").start("--demo")
    try:
        assert "EXAMPLE DATA" in run.said("out")
        filled = run.pipeline()
        assert filled["accepted"] > 25_000
        assert filled["quarantined"] == filled["duplicates"] == 0
        partners = json.loads(run.get("app", "/v2/admin/partners?limit=100")[2])["items"]
        assert len(partners) == len(PARTNERS)
        recruited = {one["partner_id"] for one in partners if one["recruiter_id"]}
        assert recruited == {partner.partner_id for partner in PARTNERS if partner.recruiter}
        landing = urlsplit(run.get("tracker", f"/a/{PARTNERS[0].partner_id}")[1]["Location"])
        assert landing.netloc == f"livechat.localhost:{urlsplit(run.where()['app_url']).port}"
        page = run.get("app", f"/?{landing.query}", Host=landing.netloc)[2].decode()
        assert "Example site" in page
        assert PARTNERS[0].partner_id in page
        until("live visitors", SOON_SECONDS, lambda: run.pipeline()["accepted"] > filled["accepted"] + 2)
        assert run.cli("audit").returncode == 0
        assert run.stop() == 0
    finally:
        if run.process.poll() is None:
            run.stop()


def test_the_example_leaves_facts_of_others_alone(tmp_path: Path, empty_redis_url: str) -> None:
    client = redis.Redis.from_url(empty_redis_url)
    client.hset(redis_keys.FACT_COUNTS, "accepted", "1")
    with pytest.raises(SettingError, match="holds facts that are not the example's"):
        example_program.claim(tmp_path, empty_redis_url)
    assert not client.exists(redis_keys.DEMO)
    client.delete(redis_keys.FACT_COUNTS)
    example_program.claim(tmp_path, empty_redis_url)
    client.hset(redis_keys.FACT_COUNTS, "accepted", "1")
    example_program.claim(tmp_path, empty_redis_url)
    assert client.exists(redis_keys.DEMO)
    client.close()


def test_the_example_can_be_imported_again_to_the_letter() -> None:
    ends_at = 1_790_000_000_000
    facts = history(example_program.SEED, ends_at)
    assert facts == history(example_program.SEED, ends_at)
    reading = Reading(Program(), ends_at)
    for fact in facts:
        assert read_body(fact["type"], fact, reading).ignored == ()
    kinds = {fact.get("kind") or fact.get("payment_origin") or fact["type"] for fact in facts}
    assert kinds >= {"click", "partner", "signup", "client", "license_transfer", "payment", "refund", "chargeback_won"}
    assert kinds >= {"suspended", "reinstated", "rate_changed", "blocked", "unblocked", "expired"}
