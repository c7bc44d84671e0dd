"""What load users work on: partners, links and tokens of their own, made through the real API before the users start.

Every id begins with the run's, so that runs never clash. What a run made stays: facts can't be taken back.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 20.0
RECRUITS = 3  # one partner in so many recruits those up to the next such, so that second tiers are paid too


class LoadError(Exception):
    """The program for the load can't be made; says what to mend."""


@dataclass(frozen=True, slots=True)
class LoadLink:
    """A partner's link to a product: the paths on the tracker, and the site that they lead to."""

    product: str
    short_path: str
    direct_path: str
    site_url: str


@dataclass(frozen=True, slots=True)
class LoadPartner:
    """A partner of the run, with a token that reads their data."""

    partner_id: str
    token: str
    links: tuple[LoadLink, ...]


@dataclass(frozen=True, slots=True)
class LoadProgram:
    """All that load users need to know. `app_url` has no slash at its end."""

    run: str
    app_url: str
    currency: str
    service_token: str
    marketing_token: str
    partners: tuple[LoadPartner, ...]

    def document(self) -> dict[str, Any]:
        """As it goes to Locust's workers."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> LoadProgram:
        partners = tuple(
            LoadPartner(one["partner_id"], one["token"], tuple(LoadLink(**link) for link in one["links"]))
            for one in document["partners"]
        )
        return cls(**{**document, "partners": partners})


@dataclass(frozen=True, slots=True)
class Host:
    """Where Lasttouch runs, and the admin token for it."""

    tracker_url: str
    app_url: str
    admin_token: str

    def make_program(self, partner_count: int, currency: str) -> LoadProgram:
        """A new run's program. Raises LoadError."""
        run = f"load-{uuid.uuid4().hex[:10]}"
        tokens = [self._make_token("/v2/admin/service-tokens", run, scope=scope) for scope in ("service", "marketing")]
        partners = tuple(self._make_partner(run, number) for number in range(partner_count))
        return LoadProgram(run, self.app_url.rstrip("/"), currency, tokens[0], tokens[1], partners)

    def _make_partner(self, run: str, number: int) -> LoadPartner:
        partner_id = f"{run}.{number}"
        body = {"partner_id": partner_id, "email": f"{partner_id}@load.example.com", "name": f"Load partner {number}"}
        if number % RECRUITS:
            body["recruiter_id"] = f"{run}.{number - number % RECRUITS}"
        links = tuple(
            LoadLink(product, urlsplit(link["short_url"]).path, f"/a/{partner_id}/{product}", link["url"])
            for product, link in self._post(self.tracker_url, "/v1/partners", body)["links"].items()
        )
        return LoadPartner(partner_id, self._make_token(f"/v2/admin/partners/{partner_id}/tokens", run), links)

    def _make_token(self, path: str, label: str, **body: str) -> str:
        return str(self._post(self.app_url, path, {"label": label, **body})["token"])

    def _post(self, base_url: str, path: str, body: Mapping[str, str]) -> dict[str, Any]:
        """The JSON of a 201. Raises LoadError with the words of any other answer."""
        base = urlsplit(base_url)
        secure = base.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        headers = {"Authorization": f"Bearer {self.admin_token}", "Content-Type": "application/json"}
        connection = connect(base.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", base.path.rstrip("/") + path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                said = text[:300].decode(errors="replace")
                raise LoadError(f"POST {path} at {base_url} answers {answer.status}: {said}")
            found: dict[str, Any] = json.loads(text)
            return found
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LoadError(f"POST {path} at {base_url}: {error or type(error).__name__}") from error
        finally:
            connection.close()
