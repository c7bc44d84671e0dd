"""R20: where a client's name and e-mail are, byte by byte, after everything was done with them. R15: who sees what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness import ADMIN_TOKEN, Answer, Journey, Server, poll, send
from tracker import redis_keys

CENTERS = ("us-south1", "eu-west3")


class Client:
    """Someone whose name and address nobody else has."""

    def __init__(self, data_center: str) -> None:
        self.data_center = data_center
        self.word = f"zq{data_center.replace('-', '')}"
        self.email = f"{self.word}.person@{self.word}-firm.example"
        self.name = f"Xanthippe {self.word.upper()}"
        self.renamed = f"Yolanda {self.word.upper()}"
        self.operator = f"{self.word}.operator@{self.word}-firm.example"

    @property
    def needles(self) -> list[bytes]:
        """What a search for the person looks for, whatever the case of the text."""
        return [self.word.encode(), self.word.upper().encode()]


@pytest.fixture(scope="module")
def licenses(server: Server) -> dict[str, str]:
    """Data center → license id. A partner does everything for a client in each, and all of it is loaded."""
    story = Journey(server)
    partner_id = story.join("P")["partner_id"]
    bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    token = send(
        server.app_port, "POST", f"/v2/admin/partners/{partner_id}/tokens", json.dumps({"label": "api"}), bearer
    ).json["token"]

    def ask(method: str, path: str, body: Mapping[str, Any]) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = send(server.app_port, method, f"/v2/partners/solutions{path}", json.dumps(body), headers)
        assert answer.status < 300, answer.body.decode()
        return answer

    made: dict[str, str] = {}
    for data_center in CENTERS:
        client = Client(data_center)
        owner = {"client_name": client.name, "client_email": client.email}
        organization = {**owner, "organization_name": f"{client.name} Ltd", "data_center": data_center}
        organization_id = ask("POST", "/organizations", organization).json["id"]
        license = {**owner, "payment_origin": "partner", "purchase_order": f"for {client.name}"}
        made[data_center] = ask("POST", f"/organizations/{organization_id}/licenses?product=livechat", license).json[
            "license"
        ]
        path = f"/licenses/livechat/{made[data_center]}"
        ask("PUT", path, {"client_name": client.renamed})
        ask("POST", f"{path}/operators", {"operators": [{"email": client.operator, "role": "agent"}]})
        ask("POST", f"{path}/subscription", {"plan": "team", "billing_cycle": "annual", "seats": 2})
        ask("GET", path, {})
        story.sign_up(
            f"link-{data_center}",
            client_email=f"link.{client.email}",
            client_name=client.name,
            data_center=data_center,
            partner_id=partner_id,
        )
    ask("POST", f"/licenses/livechat/{made['us-south1']}/transfer", {"new_owner": Client("us-south1").operator})
    story.attributed()
    for data_center in CENTERS:
        poll("the letter is written", 20, lambda: _holding((server.data / "outbox").glob("*.eml"), Client(data_center)))  # noqa: B023
    return made


def test_who_sees_what_of_a_license(server: Server, licenses: dict[str, str]) -> None:
    def visibility(license_id: str) -> Answer:
        return server.api(f"/v1/licenses/{license_id}/visibility", b"", "GET")

    found = visibility(licenses["eu-west3"]).json
    assert found == {
        "license_id": licenses["eu-west3"],
        "payment_origin": "partner",
        "client_sees": {"plan_price": False, "billing": False, "trial": False, "features": True, "seats": True},
        "partner_sees": {"billing": True},
    }
    transferred = visibility(licenses["us-south1"]).json
    assert transferred["payment_origin"] == "client"
    assert transferred["client_sees"] == dict.fromkeys(found["client_sees"], True)
    assert transferred["partner_sees"] == {"billing": False}
    story = Journey(server)
    story.sign_up("linked")
    assert visibility(story.id("linked")).json["payment_origin"] == "client"
    # An import may tell of the transfer before it tells of the license (R16).
    moved = {"license_id": story.id("moved")}
    story.import_lines([{"type": "license_transfer", "event_id": story.id("t"), **moved}])
    assert visibility(story.id("moved")).status == 404
    story.join("Q")
    license = {"product": "livechat", "partner_id": story.id("Q"), "client_email": "q@client.example"}
    story.import_lines([{"type": "solution_license", "payment_origin": "partner", **license, **moved}])
    assert visibility(story.id("moved")).json["payment_origin"] == "client"
    refused = send(server.tracker_port, "GET", f"/v1/licenses/{story.id('linked')}/visibility")
    assert refused.status == 401


def test_a_client_s_name_and_address_are_in_their_data_center_and_nowhere_else(
    server: Server, licenses: dict[str, str]
) -> None:
    with redis.Redis(unix_socket_path=str(server.data / "redis" / "redis.sock")) as client:
        for data_center in CENTERS:
            poll("its stream is loaded", 20, lambda: client.xlen(redis_keys.client_journal(data_center)) == 0)  # noqa: B023
        state = b"".join(b"".join(_values(client, key)) for key in client.scan_iter(count=1000))
    for data_center in CENTERS:
        person = Client(data_center)
        assert not _holds(state, person), "Redis holds nothing of them once it is loaded"
        files = {path for path in server.data.rglob("*") if path.is_file() and not path.is_symlink()}
        files.add(server.log)
        holding = _holding(files, person)
        own = _store_files(server.data / "clickhouse", data_center)
        assert holding & own, "the search finds what is there"
        elsewhere = {str(path.relative_to(server.data.parent)) for path in holding - own}
        # The letters, as long as no mail server is set; and Redis's own journal on disk, until it is rewritten.
        allowed = re.compile(r"data/outbox/[^/]+\.eml|data/redis/.*appendonly.*")
        assert [path for path in sorted(elsewhere) if not allowed.fullmatch(path)] == []
        for path in holding - own:
            if "appendonly" in str(path):
                stream = redis_keys.client_journal(data_center).encode()
                commands = [one for one in _commands(path.read_bytes()) if _holds(b" ".join(one), person)]
                assert {(one[0].upper(), one[1]) for one in commands} == {(b"XADD", stream)}


def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    """A key of Redis and everything in it."""
    found: Any
    match client.type(key):
        case b"string":
            found = [client.get(key)]
        case b"hash":
            found = [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            found = client.lrange(key, 0, -1)
        case b"zset":
            found = client.zrange(key, 0, -1)
        case b"stream":
            found = [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        case other:
            raise AssertionError(other)
    return [key, *found]


def _holding(paths: Iterable[Path], person: Client) -> set[Path]:
    """The files that hold anything of a person. One that a merge takes away meanwhile is in another one by then."""
    found: set[Path] = set()
    for path in paths:
        with suppress(FileNotFoundError):
            if _holds(path.read_bytes(), person):
                found.add(path)
    return found


def _holds(data: bytes, person: Client) -> bool:
    return any(needle in data for needle in person.needles)


def _store_files(clickhouse: Path, data_center: str) -> set[Path]:
    """The files of a data center's database: its tables' folders lead into the store."""
    database = clickhouse / "data" / f"lasttouch_{data_center.replace('-', '_')}"
    return {path.resolve() for table in database.iterdir() for path in table.resolve().rglob("*") if path.is_file()}


def _commands(log: bytes) -> Iterator[list[bytes]]:
    """The commands of an append-only file (RESP arrays)."""
    at = 0
    while (at := log.find(b"*", at)) >= 0:
        end = log.index(b"\r\n", at)
        if not log[at + 1 : end].isdigit():
            at += 1
            continue
        count, at = int(log[at + 1 : end]), end + 2
        command: list[bytes] = []
        for _ in range(count):
            end = log.index(b"\r\n", at)
            size = int(log[at + 1 : end])
            command.append(log[end + 2 : end + 2 + size])
            at = end + 2 + size + 2
        yield command
