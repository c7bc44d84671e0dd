"""docs/partner-api.md: its examples are run, and answer what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import world
from running_app import App

PAGE = (Path(__file__).resolve().parents[2] / "docs/partner-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n+```json\n(\d+)\n(.*?)```", PAGE, re.DOTALL)


def test_the_guide_s_examples(app: App) -> None:
    # The page's partner has 80 dollars: 3.80 of world.py, and a fifth of this payment.
    world.load(app.warehouse, world.paid("guide", "L1", 39, 38_100), load_id=2)
    assert len(EXAMPLES) == PAGE.count("```http") == PAGE.count("```json") > 8
    for method, target, body, status, expected in EXAMPLES:
        answer = app.send(method, target, app.tokens["P"], body=body.encode() or None)
        assert answer.status == int(status), (method, target, answer.text)
        said = answer.json if answer.body else None
        assert is_like(said, json.loads(expected) if expected else None), (method, target, answer.text)


def is_like(said: Any, expected: Any) -> bool:
    """Whether an answer is what is expected, where `…` expects anything."""
    if expected == "…":
        return said not in (None, "")
    if isinstance(expected, dict):
        return said.keys() == expected.keys() and all(is_like(said[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(said) == len(expected) and all(map(is_like, said, expected))
    return bool(said == expected)
