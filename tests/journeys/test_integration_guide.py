"""docs/integrate.md: its code runs against the real server, in each language that there is a program for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reports.example_sites import app as example_sites
from tests.harness import ADMIN_TOKEN, ROOT, Journey, free_port
from tracker.api import CALLS
from tracker.bodies import FIELDS

GUIDE = (ROOT / "docs/integrate.md").read_text(encoding="utf-8")


def code(heading: str) -> str:
    """The code block under a heading."""
    found = re.search(rf"^### {heading}\n.*?^```\w+\n(.*?)^```", GUIDE, re.S | re.M)
    assert found, heading
    return found[1]


# What a site does, one call after the other; each prints the answer as a line. `names` holds their ids.
PYTHON = """
import sys
names = json.loads(sys.argv[1])
for call, arguments in names["calls"]:
    try:
        print(json.dumps(globals()[call](*arguments)))
    except TryAgain as again:
        print(json.dumps({"again": again.args[0]}))
    except Refused as refused:
        print(json.dumps({"refused": json.loads(str(refused))}))
"""
NODE = """
(async () => {
  const calls = { signed_up: signedUp, joined, paid, refunded };
  for (const [call, given] of JSON.parse(process.argv[2]).calls) {
    try {
      console.log(JSON.stringify(await calls[call](...given)));
    } catch (error) {
      if (error instanceof TryAgain) console.log(JSON.stringify({ again: error.seconds }));
      else if (error instanceof Refused) console.log(JSON.stringify({ refused: JSON.parse(error.message) }));
      else throw error;
    }
  }
})();
"""
PROGRAMS = {"Python": (sys.executable, "py", PYTHON)}
if node := shutil.which("node"):
    PROGRAMS["Node"] = (node, "js", NODE)


def run(language: str, folder: Path, tracker_url: str, calls: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    program, ending, driver = PROGRAMS[language]
    file = folder / f"site.{ending}"
    file.write_text(code(language) + driver)
    environ = {"TRACKER_URL": tracker_url, "SERVICE_TOKEN": ADMIN_TOKEN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [program, str(file), json.dumps({"calls": calls})], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_code_does_what_the_page_says(journey: Journey, tmp_path: Path, language: str) -> None:
    journey.join("P")
    stamp = journey.visitor().click(journey.id("P")).query["lt"]
    touched = journey.visitor()
    touched.click(journey.id("P"))
    at = "2026-02-11T13:18:53.123Z"

    def account(name: str) -> dict[str, Any]:
        mail = f"{journey.id(name)}@clients.example"
        return {"id": journey.id(name), "email": mail, "name": name, "plan": "team", "seats": 2, "created_at": None}

    payment = {"id": journey.id("pay"), "account_id": journey.id("A"), "amount_cents": 2900, "paid_at": at}
    refund = {"id": journey.id("r"), "payment_id": payment["id"], "amount_cents": 900, "refunded_at": at}
    partner = account("B")
    calls: list[tuple[str, list[Any]]] = [
        ("signed_up", [account("A"), {"lt_visitor": touched.id, "lt_partner": journey.id("P")}, {}]),
        ("signed_up", [account("A"), {"lt_visitor": touched.id, "lt_partner": journey.id("P")}, {}]),
        ("signed_up", [account("L"), {"lt_visitor": "", "lt_partner": ""}, {"site_lt": stamp}]),
        ("signed_up", [account("F"), {"lt_visitor": "forged", "lt_partner": "no body"}, {"site_a": journey.id("P")}]),
        ("signed_up", [account("K"), {}, {"lt_visitor": touched.id, "lt_partner": journey.id("P")}]),
        ("joined", [partner, {"lt_visitor": touched.id}, {}]),
        ("paid", [payment]),
        ("refunded", [refund]),
        ("paid", [{**payment, "amount_cents": 2901}]),
    ]
    answers = run(language, tmp_path, journey.server.environ["LASTTOUCH_TRACKER_URL"], calls)
    first, again, stamped, forged, kept, joined, paid, refunded, refused = answers
    assert first == again
    assert stamped["license_id"] == journey.id("L") and forged["attribution"]["partner_id"] == journey.id("P")
    assert kept["attribution"]["partner_id"] == journey.id("P")
    assert (joined["recruiter_id"], set(joined["links"])) == (journey.id("P"), {"livechat", "partner_program"})
    assert (paid["payment_id"], refunded["refund_id"]) == (payment["id"], refund["id"])
    assert refused["refused"]["status"] == 409
    assert not any("ignored" in answer for answer in answers), "every field has a name that is known"
    journey.attributed()
    reasons = [journey.attribution(name)["reason"] for name in ("A", "L", "F", "K")]
    assert reasons == ["last_touch", "last_touch", "explicit_partner", "last_touch"]


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_code_says_when_to_try_again(tmp_path: Path, language: str) -> None:
    call = ("refunded", [{"id": "r", "payment_id": "p", "amount_cents": 1, "refunded_at": None}])
    assert run(language, tmp_path, f"http://127.0.0.1:{free_port()}", [call]) == [{"again": 5}]


def test_all_languages_name_the_same_things() -> None:
    fields = {field.name for kind in ("signup", "partner", "payment", "refund") for field in FIELDS[kind]}
    named = set(re.findall(r'"(\w+)"', code("Python"))) & fields
    assert len(named) >= 18
    for language in ("Python", "Node", "PHP"):
        block = code(language)
        assert named <= set(re.findall(r"\w+", block)), language
        assert set(re.findall(r"/v1/[a-z-]+", block)) == {"/v1/signups", "/v1/partners", "/v1/payments", "/v1/refunds"}


def test_what_the_page_names_exists() -> None:
    assert set(re.findall(r"/v1/[a-z-]+", GUIDE)) <= {*CALLS, "/v1/pipeline"}
    folder = Path(example_sites.__file__).parent
    (table,) = re.findall(r"^\| file \|.*?(?=^\n|\Z)", GUIDE, re.S | re.M)
    files = re.findall(r"`([\w/]+\.\w+)`", table)
    assert len(files) >= 7
    assert [name for name in files if not (folder / name).exists()] == []
