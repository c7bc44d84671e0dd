"""`python -m tracker.healthcheck`: exit code 0 when all that listens here lives, for a container's HEALTHCHECK."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence

PORTS = (8000, 8001)
TIMEOUT_SECONDS = 3.0


def main(ports: Sequence[int] = PORTS) -> int:
    """0 when at least one of `ports` listens on this machine and none answers badly, else 1."""
    answers = [answer for port in ports if (answer := _status(port)) is not None]
    return 0 if answers and all(status == 200 for status in answers) else 1


def _status(port: int) -> int | None:
    """The status of a port's `/health/live`; None where nobody listens, 0 where there is no proper answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or PORTS))
