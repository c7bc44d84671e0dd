"""What the published package ChannelAttribution gives on generated paths, for `test_multi_touch.py`.

The package (https://pypi.org/project/ChannelAttribution, GPL-3.0-or-later) comes as source only: it takes a C++
compiler and a minute to install, and imports matplotlib without saying so. So the tests compare with what it gave once,
which is in `channel_attribution.json`, and with the package itself where it is installed. Its Markov model walks at
random; WALKS walks leave it a few tenths of a percent off. To make the file anew, in an environment of its own:

    pip install ChannelAttribution==2.2.5 matplotlib
    python -m tests.attribution.channel_attribution
"""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

from attribution.multi_touch import Path

PACKAGE = "ChannelAttribution"
RESULTS = File(__file__).with_suffix(".json")
PATH_SETS = 24
ORDERS = (1, 2)
WALKS = 2_000_000
LONGEST_WALK = 10_000
"""In steps: far beyond what any walk on these paths takes, for ours have no end."""
DIGITS = 10


def path_set(random_numbers: random.Random) -> list[Path]:
    """Some paths on few channels, with repeats, dead ends, loops, and now and then none that fails or that pays."""
    channels = "ABCDEFGH"[: random_numbers.randint(1, 8)]
    longest = random_numbers.choice((1, 2, 3, 5, 9))
    nothing_fails, nothing_pays = random_numbers.random() < 0.15, random_numbers.random() < 0.15
    paths: dict[tuple[str, ...], Path] = {}
    for _ in range(random_numbers.randint(1, 25)):
        touches = tuple(random_numbers.choice(channels) for _ in range(random_numbers.randint(1, longest)))
        conversions = random_numbers.choice((0, 1, 1, 2, 7, 40))
        value = 0 if nothing_pays else conversions * random_numbers.choice((0, 1, 990, 2900, 100_000))
        nulls = 0 if nothing_fails else random_numbers.choice((0, 1, 5, 30, 200))
        if conversions + nulls:
            paths[touches] = Path(touches, conversions, value, nulls)
    return list(paths.values())


def path_sets() -> list[list[Path]]:
    """The generated sets; every one has a conversion."""
    random_numbers, found = random.Random(20_260_211), []
    while len(found) < PATH_SETS:
        paths = path_set(random_numbers)
        if any(path.conversions for path in paths):
            found.append(paths)
    return found


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def package_results(paths: Sequence[Path], walks: int = WALKS) -> dict[str, Any]:
    """What the package says: credits by model as channel → [conversions, value], and of the Markov chain of each order
    the removal effects as channel → [of conversions, of value] and the steps as [[from, to, chance], …]."""
    import pandas
    from ChannelAttribution import heuristic_models, markov_model

    table = pandas.DataFrame(
        {
            "path": [">".join(path.touches) for path in paths],
            "conversions": [path.conversions for path in paths],
            "value": [float(path.value_cents) for path in paths],
            "nulls": [path.nulls for path in paths],
        }
    )
    columns = ("path", "conversions", "value")
    credits = heuristic_models(table, *columns, flg_pro=False).set_index("channel_name")
    found: dict[str, Any] = {
        model: {
            channel: [rounded(row[f"{model}_touch_conversions"]), rounded(row[f"{model}_touch_value"])]
            for channel, row in credits.iterrows()
        }
        for model in ("first", "last", "linear")
    }
    names = ["", *dict.fromkeys(channel for path in paths for channel in path.touches)]
    for order in ORDERS:
        result = markov_model(
            table, *columns, var_null="nulls", order=order, nsim_start=walks, nfold=1, max_step=LONGEST_WALK,
            out_more=True, seed=order, verbose=False, flg_pro=False,
        )  # fmt: skip
        effects = result["removal_effects"].set_index("channel_name")
        found[f"markov {order}"] = {
            "effects": {
                channel: [rounded(row["removal_effects_conversion"]), rounded(row["removal_effects_conversion_value"])]
                for channel, row in effects.iterrows()
            },
            "steps": [
                [state(names, step.channel_from), state(names, step.channel_to), rounded(step.transition_probability)]
                for step in result["transition_matrix"].itertuples()
            ],
        }
    return found


def state(names: Sequence[str], text: str) -> str:
    """A state's name with the channels' own names: the package numbers them as they come."""
    return text if text.startswith("(") else ">".join(names[int(number)] for number in text.split())


def rounded(number: float) -> float | None:
    """A number as the file has it; None for what the package cannot say (no value to share)."""
    return round(float(number), DIGITS) if number == number else None


def main() -> None:
    from importlib.metadata import version

    sets = [
        {
            "paths": [[">".join(path.touches), path.conversions, path.value_cents, path.nulls] for path in paths],
            **package_results(paths),
        }
        for paths in path_sets()
    ]
    head = {"made_by": f"{PACKAGE} {version(PACKAGE)}", "walks": WALKS}
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in sets)
    RESULTS.write_text(f'{json.dumps(head)[:-1]}, "sets": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
