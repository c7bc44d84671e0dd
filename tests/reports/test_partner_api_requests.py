"""How the Partner API reads requests: by the contract, and one 400 that names everything that is wrong."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from starlette.requests import Request

from reports.partner_api.asked import Asked, equals_filters, read_request
from reports.partner_api.contract import CONTRACT_OPERATIONS, FORM, JSON
from reports.partner_api.serving import NOBODY, OPERATIONS
from tracker.errors import BadRequest
from tracker.program import Program


def read(operation: str, body: Any = b"", kind: str = JSON, path: dict[str, str] | None = None, **query: str) -> Asked:
    """What an operation's handler would get."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw}

    scope = {
        "type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())],
        "query_string": urlencode(query).encode(), "path_params": path or {},
    }  # fmt: skip

    async def run() -> Asked:
        return await read_request(CONTRACT_OPERATIONS[operation], Program(), Request(scope, receive), NOBODY)

    return anyio.run(run)


def refused(operation: str, *given: Any, **more: Any) -> dict[str, str]:
    """The errors of a request that is refused: field → message."""
    with pytest.raises(BadRequest) as caught:
        read(operation, *given, **more)
    assert caught.value.document()["status"] == 400
    return {error["field"]: error["message"] for error in caught.value.errors}


def test_handlers_are_of_operations_that_exist() -> None:
    assert OPERATIONS.keys() <= CONTRACT_OPERATIONS.keys()
    assert len(CONTRACT_OPERATIONS) == 60


def test_every_bad_field_is_named() -> None:
    licensing = {"client_name": "Jane", "payment_origin": "partner", "trial_duration": 30, "coupon_id": 1}
    errors = refused("create_license", licensing, path={"organization_id": "x"}, product="partner_program")
    assert errors == {
        "organization_id": "must be a UUID",
        "product": "must be one of livechat",
        "client_name": "must have at least 5 characters",
        "client_email": "is required",
        "trial_duration": "must be at most 14",
        "coupon_id": "is not possible with the other fields",
    }
    nested = refused("invite_license_operators", {"operators": [{"email": "a@b.pl", "role": "king"}, {"email": "x"}]},
                     path={"product": "livechat", "license_id": "1"})  # fmt: skip
    assert list(nested) == ["operators.0.role", "operators.1.role", "operators.1.email"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Spring", "trial_duration": "30"}, "trial_duration"),
        ({"name": "Spring", "trial_duration": 30.0}, "trial_duration"),
        ({"name": "Spring", "trial_duration": True}, "trial_duration"),
        ({"name": "Spring", "link": "javascript:alert(1)"}, "link"),
        ({"name": "Spring", "link": "/path"}, "link"),
        ({"name": "Spring", "link": "https://exa mple.com"}, "link"),
        ({"name": "Spr\ud800ing"}, "name"),
        ({"name": "Spri\u0000ng"}, "name"),
        ({"name": None}, "name"),
        ({"name": "        "}, "name"),
        ({"name": " Sale "}, "name"),
        ([], "body"),
        (b'{"coupon_id": ' + b"9" * 5000 + b"}", "body"),
        (b"{", "body"),
        (b'{"name": NaN}', "body"),
        (b"\xff", "body"),
        (b"{" + b'"a":' * 40_000, "body"),
        (b" " * 70_000, "body"),
    ],
)
def test_bodies_are_read_strictly(body: Any, field: str) -> None:
    assert list(refused("create_campaign", body)) == [field]


@pytest.mark.parametrize("seats", [0, -1, 1_000_001, 2**32, 10**30, 1.5, "3", None, True])
def test_seats_are_a_number_that_every_store_holds(seats: Any) -> None:
    """Else the fact of the change would not be taken by the loader."""
    terms = {"plan": "team", "billing_cycle": "monthly", "seats": seats}
    path = {"product": "livechat", "license_id": "1"}
    for operation_id in ("create_subscription", "update_subscription"):
        assert list(refused(operation_id, terms, path=path)) == ["seats"]


def test_a_form_is_read_as_the_schema_says() -> None:
    form = urlencode({"name": "Spring sale", "trial_duration": "30", "unknown": "1"}).encode()
    assert read("create_campaign", form, FORM).body == {"name": "Spring sale", "trial_duration": 30, "unknown": "1"}
    assert list(refused("create_campaign", b"name=Spring&trial_duration=many", FORM)) == ["trial_duration"]
    assert list(refused("update_billing", b"type=business", FORM)) == ["body"]
    assert list(refused("create_campaign", b"&".join([b"a=1"] * 300), FORM)) == ["body"]


def test_defaults_are_filled_in_and_unknown_parameters_ignored() -> None:
    asked = read("get_commission_metric", nobody="knows")
    assert asked.query == {"product": "all", "program": "all"}
    assert list(refused("get_commission_metric", product="chatbot", program="x")) == ["product", "program"]
    assert list(refused("get_trials_report")) == ["date_from", "date_to", "aggregation"]


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ("{}", "filters"), ("[", "filters"), ('[{"field": "product"}]', "filters.0.operator"),
        ('[{"field": "name", "operator": "equals", "value": "x"}]', "filters.0.field"),
        ('[{"field": "product", "operator": "like", "value": "livechat"}]', "filters.0.operator"),
        ('[{"field": "product", "operator": "equals", "value": "x"}]', "filters.0.value"),
    ],
)  # fmt: skip
def test_filters_that_cannot_be_met_are_named(filters: str, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        equals_filters(read("search_campaigns", page="1", state="active", filters=filters), {"product": ["livechat"]})
    assert field in [error["field"] for error in caught.value.errors]


def test_filters_narrow_together() -> None:
    one = '{"field": "product", "operator": "equals", "value": "%s"}'
    choices = {"product": ["livechat", "chatbot"]}
    for values, wanted in ((["livechat"] * 2, "livechat"), (["livechat", "chatbot"], "")):
        filters = f"[{','.join(one % value for value in values)}]"
        asked = read("search_campaigns", page="1", state="active", filters=filters)
        assert equals_filters(asked, choices) == {"product": wanted}
