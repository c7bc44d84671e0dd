"""A click as the journal keeps it: encoded once, where it happens, in the form that Redis and ClickHouse take."""

from __future__ import annotations

from typing import NamedTuple

from tracker.events import Clicked, Verdict, click_row
from tracker.redis_keys import shard_of

TOUCHES_PER_VISITOR = 8


class ClickLine(NamedTuple):
    """A click's row of the clicks table, and its line of the visitor's touches, which is empty when it is none.

    `row` is TabSeparated in the order of CLICK_COLUMNS, with its line feed. `visitor_id` is empty for who opted out.
    `is_first` says that the visitor id was made for this click, so that no touch can be stored under it yet.
    """

    shard: int
    row: str
    visitor_id: str
    touch: str
    is_first: bool = False


def click_line(click: Clicked) -> ClickLine:
    """A click, encoded. Human clicks of a known visitor become touches."""
    is_touch = click.verdict == Verdict.HUMAN and click.visitor_id is not None
    return ClickLine(
        shard_of(click.visitor_id or click.click_id),
        click_row(click),
        click.visitor_id or "",
        touch_line(click) if is_touch else "",
    )


def touch_line(click: Clicked) -> str:
    """A click as a line of its visitor's touches (docs/architecture.md)."""
    campaign = click.campaign.replace("\n", " ")
    return f"{click.clicked_at:013d} {click.click_id} {click.partner_id} {click.product} {campaign}"
