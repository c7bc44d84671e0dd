"""What all load users have in common: the run's program, and requests that fail when the answer is not the contract's.

Importing this module lets Locust replace parts of the standard library, so nothing outside load runs may import it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from gevent.event import AsyncResult
from locust import FastHttpUser
from locust.contrib.fasthttp import FastResponse

from loadtests.load_program import LoadPartner, LoadProgram

PROGRAM_SECONDS = 120.0  # how long a user waits for the master to make the program

program_made: AsyncResult[LoadProgram] = AsyncResult()
"""The run's program, once this process has been told."""

Check = Callable[[FastResponse], str]
"""What is wrong with an answer; empty when it is as the contract says."""


class LoadUser(FastHttpUser):
    """A user without a cookie jar: who sends cookies says which."""

    abstract = True
    network_timeout = 30.0
    connection_timeout = 10.0
    chance = random.Random()
    program: LoadProgram

    def on_start(self) -> None:
        self.client.cookiejar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.program = program_made.get(timeout=PROGRAM_SECONDS)

    def some_partner(self) -> LoadPartner:
        return self.chance.choice(self.program.partners)

    def ask(self, name: str, method: str, url: str, check: Check, **request: Any) -> FastResponse | None:
        """One request, shown in the statistics as `name`. None when it failed or `check` found something wrong."""
        options = {"name": name, "catch_response": True, "allow_redirects": False, **request}
        with self.client.request(method, url, **options) as answer:
            wrong = check(answer) if answer.status_code else f"no answer: {answer.error!r}"
            if wrong:
                answer.failure(wrong)
                return None
            answer.success()
            found: FastResponse = answer
            return found


def has_status(*statuses: int) -> Check:
    """The status is one of these."""

    def check(answer: FastResponse) -> str:
        return "" if answer.status_code in statuses else said(answer)

    return check


def is_json_with(status: int, **expected: Any) -> Check:
    """A JSON object with this status and, among others, these values."""

    def check(answer: FastResponse) -> str:
        if answer.status_code != status:
            return said(answer)
        document = json_object(answer)
        wrong = {name: document.get(name) for name, value in expected.items() if document.get(name) != value}
        return f"expected {expected}, got {wrong}" if wrong else ""

    return check


def json_object(answer: FastResponse) -> Mapping[str, Any]:
    """The answer's JSON object; an empty one when it is no such thing."""
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def header(answer: FastResponse, name: str) -> str:
    """A header's value, looked up without case; empty when it is not there."""
    value = answer.headers.get(name) if answer.headers is not None else None
    return value if isinstance(value, str) else ""


def said(answer: FastResponse) -> str:
    """Status and first words of an answer that was not expected."""
    return f"{answer.status_code}: {(answer.text or '')[:200]}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
