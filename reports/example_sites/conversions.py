"""Calls the Conversions API, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
TRY_AGAIN_SECONDS = 5.0  # where the answer does not say when, or none came
LONGEST_PAUSE_SECONDS = 300


class TryAgain(Exception):
    """Lasttouch did not take the fact, or nobody knows whether it did. Send the same body again after `seconds`."""

    def __init__(self, why: str, seconds: float = TRY_AGAIN_SECONDS) -> None:
        super().__init__(why)
        self.seconds = seconds


class Refused(Exception):
    """Lasttouch will never take this body. `fields` maps the names of bad fields to what is wrong with them."""

    def __init__(self, why: str, fields: dict[str, str]) -> None:
        super().__init__(why)
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Conversions:
    """The Conversions API of one tracker, such as `https://go.example.com`, with a service token."""

    tracker_url: str
    token: str = field(repr=False)

    def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Tell one fact; gives the answer. Raises TryAgain and Refused.

        The body names the fact by an id of ours, so it may be sent as often as needed: Lasttouch takes it once, and
        gives the first answer again.
        """
        tracker = urlsplit(self.tracker_url)
        secure = tracker.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(tracker.netloc, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            status, retry_after, text = response.status, response.headers.get("Retry-After", ""), response.read()
        except (OSError, http.client.HTTPException) as error:
            # No answer, or half of one. Nobody knows whether it was taken, and it does not matter: see above.
            raise TryAgain(f"{path} got no answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        answer = _json_object(text)
        if status in (200, 201):  # 200: it was told before
            return answer
        why = f"{path} answers {status}: {answer.get('detail') or answer.get('title') or 'no reason'}"
        if status in (408, 429) or status >= 500:
            raise TryAgain(why, _seconds(retry_after))
        if status in (401, 403):
            raise TryAgain(f"{why} (mend the token; nothing is lost meanwhile)")
        raise Refused(why, {str(one.get("field")): str(one.get("message")) for one in answer.get("errors", [])})


def _json_object(text: bytes) -> dict[str, Any]:
    """The answer's JSON; empty where a proxy on the way answered something else."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _seconds(retry_after: str) -> float:
    is_number = retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6
    return float(min(int(retry_after), LONGEST_PAUSE_SECONDS)) if is_number else TRY_AGAIN_SECONDS
