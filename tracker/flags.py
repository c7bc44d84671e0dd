"""The options of commands, and those that commands of several rooms take."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

Options = argparse.Namespace
"""What a command is given: a value for each of its flags."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One option of a command, as argparse takes it."""

    name: str
    how: dict[str, Any]


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers; give 1 to 64")
    return int(text)


DATA = Flag("--data", {"metavar": "DIR", "help": "the data folder (default: LASTTOUCH_DATA, else ./data)"})
WORKERS = Flag(
    "--workers",
    {
        "metavar": "N",
        "type": _workers,
        "default": max(2, (os.cpu_count() or 2) - 1),
        "help": "tracker processes (default: one fewer than there are cores, at least 2)",
    },
)
