"""The example program of `lasttouch serve --demo`: its program file, and its claim on a data folder.

Example data never mixes with real data: the example only claims stores that hold no facts yet, and a folder that
it claimed is marked for good: in the folder (`example/claim.json`), and in Redis, so that every page can say so.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from redis import Redis

from tracker import redis_keys
from tracker.errors import SettingError

SEED = 6  # with every kind of fact in it, whatever the weekday that the history begins on


@dataclass(frozen=True, slots=True)
class Claim:
    """The example's hold on a data folder. Its history ends at `began_at`, in ms; `is_filled` once it is imported."""

    began_at: int
    is_filled: bool = False


def read_claim(data: Path) -> Claim | None:
    """The claim on a data folder, or None where the example has none."""
    path = _claim_path(data)
    return Claim(**json.loads(path.read_text())) if path.exists() else None


def mark_filled(data: Path, claim: Claim) -> None:
    """The history is in."""
    _write_claim(data, replace(claim, is_filled=True))


def claim(data: Path, redis_url: str) -> None:
    """Claim a data folder and a Redis for the example. Raises SettingError where they hold facts of somebody else's."""
    client = Redis.from_url(redis_url)
    try:
        if read_claim(data) is None:
            if _accepted(client):
                raise SettingError(
                    f"{data} holds facts that are not the example's; --demo only fills an empty data folder. "
                    "Give another folder with --data, or leave --demo out"
                )
            _write_claim(data, Claim(began_at=time.time_ns() // 1_000_000))
        client.set(redis_keys.DEMO, 1)
    finally:
        client.close()


def write_program(data: Path, site_port: int) -> Path:
    """Write the example's program file, whose sites are on a port of this machine, and return its path."""
    lines = ["# Written by `lasttouch serve --demo` at every start.", "[program]", 'name = "Example Partner Program"']
    for key, name, host in (
        ("livechat", "LiveChat (example)", "livechat.localhost"),
        ("partner_program", "Partner Program (example)", "partners.localhost"),
    ):
        lines += ["", f"[products.{key}]", f'name = "{name}"', f'url = "http://{host}:{site_port}/"']
    path = data / "example" / "program.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def _accepted(client: Redis) -> int:
    """How many facts a Redis has ever accepted."""
    keys = [redis_keys.FACT_COUNTS, *(redis_keys.click_counts(shard) for shard in range(redis_keys.SHARDS))]
    return sum(int(client.hget(key, "accepted") or 0) for key in keys)


def _claim_path(data: Path) -> Path:
    return data / "example" / "claim.json"


def _write_claim(data: Path, claimed: Claim) -> None:
    path = _claim_path(data)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(claimed)))
    temporary.replace(path)
