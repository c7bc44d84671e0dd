"""What `lasttouch import` shows: a progress bar on a terminal, plain lines elsewhere, then a summary."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

from tracker.data_folder import DataFolder
from tracker.errors import SettingError
from tracker.import_file import ImportFailed, Outcome, Rejected, Tracker, load_events
from tracker.settings import Settings

PRINTED_REJECTS = 20
PLAIN_LINE_EVERY_SECONDS = 5.0
BAR_EVERY_SECONDS = 0.1
BAR_CELLS = 24


def import_command(settings: Settings, environ: Mapping[str, str], file: str, rejects: str | None) -> int:
    """Load `file` (`-` is standard input). The exit code: 0 when every line was taken, else 1."""
    tracker = find_tracker(settings, environ)
    with ExitStack() as open_files:
        source, total = _open_source(file, open_files)
        reject_file = open_files.enter_context(Path(rejects).open("w", encoding="utf-8")) if rejects else None
        report = Report(sys.stderr, total, reject_file)
        try:
            outcome = load_events(source, tracker, report.progress, report.rejected)
        except ImportFailed as failure:
            report.end()
            print(f"lasttouch import: {failure}", file=sys.stderr)
            print("What was loaded so far stays; the same import again skips it.", file=sys.stderr)
            return 1
        finally:
            tracker.close()
        report.end()
    blank = outcome.lines - outcome.accepted - outcome.duplicates - outcome.rejected
    print(
        f"{outcome.lines} lines: {outcome.accepted} accepted, {outcome.duplicates} known already, "
        f"{outcome.rejected} rejected{f', {blank} blank' if blank > 0 else ''}"
    )
    return 1 if outcome.rejected else 0


def find_tracker(settings: Settings, environ: Mapping[str, str]) -> Tracker:
    """The tracker to talk to: the one that LASTTOUCH_TRACKER_URL names, else the one that serves the data folder."""
    folder = DataFolder(settings.data)
    running = folder.running()
    url = settings.tracker_url if environ.get("LASTTOUCH_TRACKER_URL") else running.tracker_url if running else None
    if url is None:
        raise SettingError(
            f"no server runs on {settings.data}; start one with `lasttouch serve --data {settings.data}`, "
            "or set LASTTOUCH_TRACKER_URL and LASTTOUCH_ADMIN_TOKEN"
        )
    token = settings.admin_token or folder.kept_admin_token()
    if token is None:
        raise SettingError(f"no admin token in {settings.data}; set LASTTOUCH_ADMIN_TOKEN")
    return Tracker(url, token)


def _open_source(file: str, open_files: ExitStack) -> tuple[BinaryIO, int | None]:
    if file == "-":
        return sys.stdin.buffer, None
    try:
        source = Path(file).open("rb")  # noqa: SIM115 (the caller's ExitStack closes it)
    except OSError as error:
        raise SettingError(f"cannot read {file}: {error.strerror}") from None
    open_files.enter_context(source)
    return source, os.fstat(source.fileno()).st_size or None


class Report:
    """Shows how an import goes on `screen`; `total_bytes` is None where the end is not known."""

    def __init__(self, screen: IO[str], total_bytes: int | None, reject_file: IO[str] | None) -> None:
        self._screen = screen
        self._total_bytes = total_bytes
        self._reject_file = reject_file
        self._is_terminal = screen.isatty()
        self._started = self._shown = time.monotonic()
        self._rejected = 0

    def progress(self, outcome: Outcome) -> None:
        now = time.monotonic()
        if now - self._shown < (BAR_EVERY_SECONDS if self._is_terminal else PLAIN_LINE_EVERY_SECONDS):
            return
        self._shown = now
        line = progress_line(outcome, self._total_bytes, now - self._started)
        print(
            f"\r\x1b[K{line}" if self._is_terminal else line, end="" if self._is_terminal else "\n", file=self._screen
        )
        self._screen.flush()

    def rejected(self, item: Rejected) -> None:
        if self._reject_file:
            print(json.dumps({"line": item.line, "errors": item.errors}), file=self._reject_file)
        self._rejected += 1
        if self._rejected <= PRINTED_REJECTS:
            print(f"{self._clear()}{item}", file=self._screen)

    def end(self) -> None:
        print(self._clear(), end="", file=self._screen)
        if self._rejected > PRINTED_REJECTS:
            more = "" if self._reject_file else "; --rejects FILE keeps them all"
            print(f"… and {self._rejected - PRINTED_REJECTS} more rejected lines{more}", file=self._screen)

    def _clear(self) -> str:
        return "\r\x1b[K" if self._is_terminal else ""


def progress_line(outcome: Outcome, total_bytes: int | None, seconds: float) -> str:
    """`[████░░░░] 40 %  12.0 of 30.0 MB  81,204 lines  22,100/s  1:04 left`; without the end, what is known."""
    done = outcome.bytes_read
    counts = f"{outcome.lines:,} lines  {outcome.lines / max(seconds, 0.001):,.0f}/s"
    if not total_bytes:
        return f"{done / 1e6:.1f} MB  {counts}"
    share = min(1.0, done / total_bytes)
    cells = round(share * BAR_CELLS)
    left = round(seconds * (1 - share) / share) if share else 0
    bar = "█" * cells + "░" * (BAR_CELLS - cells)
    sizes = f"{done / 1e6:.1f} of {total_bytes / 1e6:.1f} MB"
    return f"[{bar}] {share:4.0%}  {sizes}  {counts}  {left // 60}:{left % 60:02d} left"
