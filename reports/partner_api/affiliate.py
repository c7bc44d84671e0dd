"""The operations tagged Affiliate Partner."""

from __future__ import annotations

from collections.abc import Mapping

from reports.partner_api.asked import Handler

OPERATIONS: Mapping[str, Handler] = {}
"""Operation id → handler."""
