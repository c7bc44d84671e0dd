"""What can go wrong, as one small tree. Users read `detail`; logs hold the inside.

LasttouchError
├── SettingError       a setting stops the start, with one line
├── Unavailable        a store does not answer; try again (503, Retry-After)
└── Problem            an answer to a caller, RFC 9457 `application/problem+json`
    ├── Invalid        422 (or 400 in the Partner API): bad fields, each named
    ├── Conflict       409: the id or e-mail is taken by something else
    ├── Unauthorized   401
    ├── Forbidden      403
    ├── NotFound       404
    └── TooMany        429, and when to try again (Retry-After)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class LasttouchError(Exception):
    """The root, so that a process can tell our errors from surprises."""


class SettingError(LasttouchError):
    """A setting is missing, unknown or wrong. The message is the one line that the operator reads."""


class Unavailable(LasttouchError):
    """A store does not answer. `retry_after_seconds` goes into the `Retry-After` header."""

    def __init__(self, detail: str, retry_after_seconds: int = 5) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class Problem(LasttouchError):
    """An answer that says no. `errors` has one `{"field", "message"}` per bad input."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(self, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)

    def document(self) -> dict[str, Any]:
        """The RFC 9457 document."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body


class Invalid(Problem):
    status = 422
    title = "Some fields are not right"

    @classmethod
    def fields(cls, errors: Sequence[Mapping[str, str]]) -> Invalid:
        return cls("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)


class BadRequest(Problem):
    """The request as a whole cannot be read: not JSON, not a body, an unknown filter."""


class Unauthorized(Problem):
    status = 401
    title = "Not signed in"


class Forbidden(Problem):
    status = 403
    title = "Not allowed"


class NotFound(Problem):
    status = 404
    title = "Not found"


class Conflict(Problem):
    status = 409
    title = "Not possible as things stand"


class TooLarge(Problem):
    status = 413
    title = "Too large"


class TooSlow(Problem):
    status = 408
    title = "Too slow"


class TooMany(Problem):
    """`retry_after_seconds` goes into the `Retry-After` header; `headers` say more of the limit."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})
