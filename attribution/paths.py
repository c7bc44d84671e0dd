"""Paths: which channels people touched on their way to a signup, or to nothing, read for the multi-touch models.

Identical paths are added up in ClickHouse, so that what is read does not grow with the clicks. What is bounded is
counted, so that whoever shows the models can say what is not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as File
from typing import Any

from attribution.facts import read_published
from attribution.multi_touch import Path
from attribution.warehouse import Warehouse, load_queries
from tracker.program import DAY_MS, Program

QUERIES = load_queries(File(__file__).with_name("queries"))

MAX_PATHS = 200_000
"""Distinct paths that are read, in about 200 MB. Of more the rarest are left out, those without a conversion first."""
MAX_TOUCHES = 30
"""Touches of a path: a longer one keeps its first and its newest."""
MAX_SAMPLED_CLICKS = 500_000
"""Clicks among which paths without a signup are looked for; of more, only a share of the visitors is looked at."""


class By(StrEnum):
    """What a channel is: a partner, a campaign's slug (empty without one), or the product that a link led to."""

    PARTNER = "partner"
    CAMPAIGN = "campaign"
    PRODUCT = "product"


class Conversion(StrEnum):
    """Which end of a path is a success: a signup that a click won (R2), or one whose license has paid by now."""

    TRIAL = "trial"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class PathsWanted:
    """Paths that end in [from_ms, to_ms). `product` is the one signed up for, or of the last link; empty for all."""

    from_ms: int
    to_ms: int
    by: By
    conversion: Conversion
    product: str = ""
    half_life_days: float = 7.0


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that were read, the most conversions first; what all of them add up to, and what was left out.

    `null_shares`: of so many visitors who never signed up one was looked at, and counted so many times. `shortened`
    journeys had more than MAX_TOUCHES touches.
    """

    paths: Sequence[Path]
    conversions: int = 0
    value_cents: int = 0
    nulls: int = 0
    null_shares: int = 1
    shortened: int = 0
    paths_left_out: int = 0
    conversions_left_out: int = 0


def read_paths(warehouse: Warehouse, program: Program, wanted: PathsWanted) -> Paths:
    """All paths of a period as the newest published round saw them, whole, however long it takes and whatever is
    published meanwhile. Raises WarehouseUnavailable."""
    published = read_published(warehouse)
    period: dict[str, Any] = {"from_ms": wanted.from_ms, "to_ms": wanted.to_ms, "window_ms": program.window_ms}
    clicks = warehouse.rows(QUERIES["paths_count_clicks"], **period)[0]["clicks"]
    shares = clicks // MAX_SAMPLED_CLICKS + 1
    rows = warehouse.rows(
        QUERIES["paths_gather"],
        **period,
        round=published.round,
        through_load=published.through_load,
        by=wanted.by,
        conversion=wanted.conversion,
        product=wanted.product,
        half_life_ms=round(wanted.half_life_days * DAY_MS),
        shares=shares,
        max_touches=MAX_TOUCHES,
        max_paths=MAX_PATHS,
    )
    if not rows:
        return Paths(())
    paths = [_path(row) for row in rows]
    whole = rows[0]
    return Paths(
        paths,
        conversions=whole["all_conversions"],
        value_cents=whole["all_value_cents"],
        nulls=whole["all_nulls"],
        null_shares=shares,
        shortened=whole["shortened"],
        paths_left_out=whole["all_paths"] - len(paths),
        conversions_left_out=whole["all_conversions"] - sum(path.conversions for path in paths),
    )


def _path(row: dict[str, Any]) -> Path:
    return Path(
        tuple(row["touches"]),
        row["conversions"],
        row["value_cents"],
        row["nulls"],
        tuple(row["decayed"]),
        tuple(row["decayed_value_cents"]),
    )
