"""Times as JSON shows them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: int) -> str:
    """Milliseconds since 1970 → `2026-02-11T13:18:53.250Z`."""
    at = datetime.fromtimestamp(moment // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z"
