"""The tracker's numbers as Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/).

Each worker reports itself: every sample carries the label `worker`, so that sums over workers are the scraper's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

# More label values than this on one metric would be a leak: they fall together as `other`.
MAX_SERIES = 200


class Counter:
    """A number that only grows, one series per combination of label values."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, *values: str, amount: float = 1) -> None:
        """Count `amount` more for these label values, in the order of `labels`."""
        known = self._values.get(values)
        if known is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} takes the labels {self.labels}")
            if len(self._values) >= MAX_SERIES:
                values = ("other",) * len(self.labels)
                known = self._values.get(values)
        self._values[values] = (known or 0) + amount

    def value(self, *values: str) -> float:
        """What was counted for these label values."""
        return self._values.get(values, 0)

    def samples(self) -> list[tuple[str, list[tuple[str, str]], float]]:
        """`(name, labels, value)` of every series."""
        values = self._values or ({(): 0.0} if not self.labels else {})
        return [(self.name, list(zip(self.labels, key, strict=True)), value) for key, value in values.items()]


class Gauge:
    """A number that is asked for when somebody looks."""

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.name = name
        self.text = text
        self.read = read

    def samples(self) -> list[tuple[str, list[tuple[str, str]], float]]:
        return [(self.name, [], self.read())]


class Histogram:
    """How a number is spread: how many observations were at most each bound, their count and sum."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.text = text
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def samples(self) -> list[tuple[str, list[tuple[str, str]], float]]:
        rows: list[tuple[str, list[tuple[str, str]], float]] = []
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            total += count
            rows.append((f"{self.name}_bucket", [("le", "+Inf" if bound == float("inf") else f"{bound:g}")], total))
        rows.append((f"{self.name}_count", [], total))
        rows.append((f"{self.name}_sum", [], self._sum))
        return rows


class Metrics:
    """Everything that a tracker worker counts, and what each number is for."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self.clicks = Counter(
            "lasttouch_clicks_total",
            "Redirects and touches, by what the answer's X-Lasttouch said.",
            ("source", "result"),
        )
        self.touches_refused = Counter(
            "lasttouch_touches_refused_total",
            "Touches, and asks for stamps, that were answered 4xx: foreign-origin, too-large, too-many, not-right.",
            ("reason",),
        )
        self.redirect_errors = Counter(
            "lasttouch_redirect_errors_total", "Redirects that failed inside; the visitor was sent to the home page."
        )
        self.journal_batch_clicks = Histogram(
            "lasttouch_journal_batch_clicks", "Clicks per write to Redis.", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        )
        self.journal_write_seconds = Histogram(
            "lasttouch_journal_write_seconds",
            "How long a write to Redis took.",
            (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
        )
        self.journal_failures = Counter(
            "lasttouch_journal_failures_total", "Writes that Redis did not take, by the kind of refusal.", ("reason",)
        )
        self.spooled_clicks = Counter(
            "lasttouch_spooled_clicks_total", "Clicks kept on disk because Redis did not take them."
        )
        self.lost_clicks = Counter(
            "lasttouch_lost_clicks_total",
            "Clicks that neither Redis nor the disk took. None of them was answered `counted`.",
            ("reason",),
        )
        self.delivered_clicks = Counter("lasttouch_spool_delivered_clicks_total", "Clicks brought from disk to Redis.")
        self.conversions = Counter(
            "lasttouch_conversions_total", "Conversions API calls, by call and HTTP status.", ("call", "status")
        )
        self._metrics: list[Counter | Gauge | Histogram] = [
            self.clicks,
            self.touches_refused,
            self.redirect_errors,
            self.journal_batch_clicks,
            self.journal_write_seconds,
            self.journal_failures,
            self.spooled_clicks,
            self.lost_clicks,
            self.delivered_clicks,
            self.conversions,
        ]

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Report `read()` under `name` whenever the numbers are asked for."""
        self._metrics.append(Gauge(name, text, read))

    def render(self) -> str:
        """All numbers as Prometheus text, version 0.0.4."""
        lines: list[str] = []
        for metric in self._metrics:
            lines.append(f"# HELP {metric.name} {metric.text}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            for name, labels, value in metric.samples():
                pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in [("worker", self._worker), *labels])
                lines.append(f"{name}{{{pairs}}} {int(value) if value == int(value) else value}")
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
