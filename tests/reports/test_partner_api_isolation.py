"""Every operation of the contract, asked by one partner for what is another's: 404, and never the other's data.

Requests are made from the contract, so an operation that is added to it is walked too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import redis.asyncio
import world
from running_app import ADMIN_TOKEN, Answer, App

from reports.partner_api.contract import CONTRACT_OPERATIONS, FORM, JSON, Operation, resolved
from reports.partner_api.serving import OPERATIONS
from tracker import redis_keys
from tracker.tokens import Tokens

OWNER = "P"
STRANGERS = ("Q", "S")
"""Q recruited P, and sees P's Partner ID and totals (R20); S is suspended."""

SECRETS = (
    "p@partners.example", "alert(", "Jane", "jane.doe", "Hidden", "hidden", "SOL1", "SOL2", "lcP", "ppP", "pay1",
    "NL55",
)  # fmt: skip
"""What only P may read, of world.py and of what `belongings` writes."""

NOBODYS_CHANGES = ("create_campaign", "create_api_token", "create_organization", "update_profile", "update_billing")


@dataclass
class Belongings:
    """Ids of P's things by path parameter, and other texts that are P's."""

    ids: dict[str, list[str]]
    secrets: list[bytes]


@pytest.fixture(scope="module")
def belongings(app: App) -> Belongings:
    def make(path: str, status: int, body: Mapping[str, Any], method: str = "POST", **query: Any) -> Any:
        return app.partner_api(method, path, OWNER, status=status, body=body, **query)

    campaign = make("/affiliates/campaigns", 201, {"name": "Hidden campaign", "product": "livechat"})
    found = app.partner_api("GET", "/affiliates/campaigns/search", OWNER, page=1, state="active")["results"]
    token = make("/tokens", 201, {"label": "Hidden label"})
    person = {"first_name": "Hidden", "last_name": "One", "contact_name": "Hidden", "contact_email": "hidden@p.example"}
    make("/profile", 204, person, "PUT")
    billing = {"type": "business", "company": "Hidden Ltd", "address": "Hidden 1", "city": "Hidden", "country": "NL"}
    make("/billing", 204, {**billing, "paypal": "hidden@pay.example", "vat": "NL55"}, "PUT")
    client = {"client_name": "Hidden client", "client_email": "hidden@client.example"}
    organization = make("/solutions/organizations", 201, {"organization_name": "Hidden org", **client})["id"]
    path = f"/solutions/organizations/{organization}/licenses"
    license_id = make(path, 201, {**client, "payment_origin": "client"}, product="livechat")["license"]
    app.redis.hset(redis_keys.PROGRESS, "attributed", 1_000_000)  # for nobody attributes here
    return Belongings(
        ids={
            "campaign_id": [str(one["id"]) for one in found] + [campaign["slug"]],
            "id": [str(token["id"])],
            "organization_id": [organization],
            "license_id": [license_id, "SOL1", "SOL2", "L1"],
            "product": ["livechat"],
            "status": ["paid", "trial", "expired"],
        },
        secrets=[text.encode() for text in (*SECRETS, token["token"], campaign["short_url"], organization, license_id)],
    )


def example(schema: Mapping[str, Any]) -> Any:
    """A value that a schema takes."""
    schema = resolved(schema)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= example(part) or {}
        return merged
    if "enum" in schema:
        return next(word for word in schema["enum"] if word)
    match schema.get("format"):
        case "email":
            return "stranger@example.com"
        case "uri":
            return "https://www.livechat.com/"
        case "uuid":
            return "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name]) for name in schema.get("required", ())}
        case "array":
            return [example(schema["items"])]
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    if "pattern" in schema:
        return "PL" if "A-Z" in schema["pattern"] else "2026-01-31"
    return "A stranger's"


def ask(
    app: App, operation: Operation, token: str, ids: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> Answer:
    """A right request but for the ids of its path."""
    query: dict[str, str] = {}
    path = operation.path
    for parameter in operation.parameters:
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", ids[parameter.name])
        elif parameter.required or parameter.name in ("date_from", "date_to"):
            query[parameter.name] = str(example(parameter.schema))
        if parameter.name == "product" and parameter.place == "query":
            query["product"] = "livechat"
    body = example(operation.bodies[JSON]) if operation.bodies else None
    assert JSON in operation.bodies or FORM not in operation.bodies
    target = path + (f"?{urlencode(query)}" if query else "")
    return app.send(operation.method, target, token, body=body, headers=headers)


def has_owner(operation: Operation) -> bool:
    """Whether its path names something that belongs to somebody."""
    return bool({part[1:-1] for part in re.findall(r"{[^}]+}", operation.path)} - {"product", "status"})


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("operation_id", CONTRACT_OPERATIONS)
def test_a_stranger_gets_nothing(app: App, belongings: Belongings, operation_id: str, who: str) -> None:
    operation = CONTRACT_OPERATIONS[operation_id]
    names = [parameter.name for parameter in operation.parameters if parameter.place == "path"]
    for number in range(max([len(belongings.ids[name]) for name in names], default=1)):
        ids = {name: belongings.ids[name][number % len(belongings.ids[name])] for name in names}
        answer = ask(app, operation, app.tokens[who], ids)
        said = f"{operation.method} {operation.path} {ids}: {answer.status} {answer.text}"
        if has_owner(operation):
            assert answer.status == 404, said
        elif operation_id not in ("request_withdrawal", *NOBODYS_CHANGES):
            assert answer.status == operation.status, said
        else:
            assert answer.status in (operation.status, 403, 409), said
        for secret in belongings.secrets:
            assert secret not in answer.body, said


def test_the_owner_is_answered(app: App, belongings: Belongings) -> None:
    """What strangers get a 404 for is there."""
    for operation_id in ("get_campaigns_summary", "get_organization_details", "get_license_details"):
        operation = CONTRACT_OPERATIONS[operation_id]
        ids = {name: values[0] for name, values in belongings.ids.items()}
        assert ask(app, operation, app.tokens[OWNER], ids).status == 200, operation_id


@pytest.fixture(scope="module")
def dead_tokens(app: App) -> dict[str, str]:
    """Tokens that do not work, by why."""

    async def make() -> dict[str, str]:
        async with redis.asyncio.Redis.from_url(app.redis_url) as client:
            tokens = Tokens(client, ADMIN_TOKEN)
            _, expired = await tokens.issue("partner", "expired", world.NOW - 2, OWNER, expires_at=world.NOW - 1)
            revoked, secret = await tokens.issue("partner", "revoked", world.NOW, OWNER)
            assert await tokens.revoke("partner", revoked.id, world.NOW, OWNER)
            return {"expired": expired, "revoked": secret}

    return {"none": "", "unknown": "lt_p_" + "x" * 43, "too long": "x" * 5000, **asyncio.run(make())}


@pytest.mark.parametrize("operation_id", CONTRACT_OPERATIONS)
def test_nobody_gets_anything_without_a_token_that_works(
    app: App, belongings: Belongings, dead_tokens: dict[str, str], operation_id: str
) -> None:
    operation = CONTRACT_OPERATIONS[operation_id]
    ids = {name: values[0] for name, values in belongings.ids.items()}
    for why, token in dead_tokens.items():
        answer = ask(app, operation, token, ids)
        if operation.is_public:
            assert answer.status == operation.status
            continue
        assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer"), (why, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
    basic = ask(app, operation, "", ids, {"Authorization": f"Basic {app.tokens[OWNER]}"})
    assert basic.status == (operation.status if operation.is_public else 401)


def test_every_operation_is_served() -> None:
    assert OPERATIONS.keys() == CONTRACT_OPERATIONS.keys()
