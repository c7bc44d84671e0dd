"""The provisioning webhook: tells LiveChat's own system what to create or change (docs/provisioning.md).

A payload holds clients' names and e-mails, for that is what an account is made of. They are read from their data
center's store when the webhook is sent, and are in no log.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis

from attribution.client_records import ClientRecords
from reports.deliveries import NoReceiver, NotTaken, Stopped
from tracker import redis_keys
from tracker.delivery import Delivery
from tracker.events import ClientNamed, OperatorInvited, OrganizationNamed
from tracker.rfc3339 import rfc3339

ANSWER_SECONDS = 15.0
LONGEST_STATUS_LINE = 8_192
GONE = 410


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One signature of a webhook: `v1,` and base64 of HMAC-SHA-256 (Standard Webhooks, symmetric)."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True, slots=True)
class Webhook:
    """The channel of webhooks. `secrets` sign each; without a `url` they are kept as not sent."""

    url: str | None
    secrets: Sequence[bytes]
    redis: Redis
    records: ClientRecords
    now_ms: Callable[[], int]

    async def is_open(self) -> bool:
        """Whether the receiver has not said that it is gone. Without one, nothing waits for it."""
        if self.url is None:
            return True
        gone = await cast("Awaitable[bytes | None]", self.redis.get(redis_keys.PROVISIONING_GONE))
        return gone is None or gone.decode() != self.url

    async def deliver(self, delivery: Delivery) -> str:
        """Send one webhook. Taken is what is answered with 2xx; redirects are not followed."""
        if self.url is None:
            raise NoReceiver("not sent: no receiver is set")
        document = {
            "type": delivery.type,
            "timestamp": rfc3339(delivery.ordered_at),
            "data": {**delivery.data, **await personal_data(self.records, delivery)},
        }
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = self.now_ms() // 1000
        headers = {
            "content-type": "application/json",
            "user-agent": "Lasttouch",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signature(key, delivery.id, timestamp, body) for key in self.secrets),
        }
        status = await post(self.url, headers, body)
        if status == GONE:
            await self.redis.set(redis_keys.PROVISIONING_GONE, self.url)
            raise Stopped("410: the receiver is gone; nothing more is sent there until one is sent again by hand")
        if not 200 <= status < 300:
            raise NotTaken(f"answered {status}")
        return f"answered {status}"


async def personal_data(records: ClientRecords, delivery: Delivery) -> Mapping[str, Any]:
    """What is personal in a webhook, as it is known now (R20)."""
    data = delivery.data
    data_center = data["data_center"]
    if delivery.type == "organization.created":
        named = await records.one(OrganizationNamed(organization_id=data["organization_id"], data_center=data_center))
        client = {"name": named.client_name, "email": named.client_email}
        return {"organization": {"name": named.name, "identifier": named.identifier}, "client": client}
    license_id = data["license_id"]
    found = await records.one(ClientNamed(license_id=license_id, data_center=data_center))
    personal: dict[str, Any] = {
        "client": {"name": found.name, "email": found.email},
        "purchase_order": found.purchase_order,
    }
    blanks = {
        person["operator_id"]: OperatorInvited(
            license_id=license_id, operator_id=person["operator_id"], data_center=data_center
        )
        for person in (*data.get("operators", ()), *([data["owner"]] if "owner" in data else ()))
    }
    people = await records.read(blanks.values())
    emails = {operator_id: people[blank.record].email for operator_id, blank in blanks.items()}
    if "operators" in data:
        personal["operators"] = [
            {"email": emails[person["operator_id"]], "role": person["role"]} for person in data["operators"]
        ]
    if "owner" in data:
        personal["owner"] = {"email": emails[data["owner"]["operator_id"]]}
    return personal


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """The status that a POST is answered with. Raises NotTaken where there is none within ANSWER_SECONDS.

    Only the status counts: neither a body that never ends nor a redirect is followed. All of it has one time limit and
    ends at once when the process does, which the standard library's blocking client cannot.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"host": parts.netloc, "content-length": str(len(body)), "connection": "close", **headers}
    head = "".join([f"POST {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in sent.items()), "\r\n"])
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            context = ssl.create_default_context() if is_tls else None
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=LONGEST_STATUS_LINE)
            try:
                writer.write(head.encode() + body)
                await writer.drain()
                return _status(await reader.readline())
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise NotTaken(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    except ssl.SSLError as error:
        raise NotTaken(f"TLS: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise NotTaken(f"no connection: {getattr(error, 'strerror', None) or type(error).__name__}") from None


def _status(line: bytes) -> int:
    """The number of an HTTP status line."""
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise NotTaken("the answer is not HTTP")
    return int(rest[:3])
