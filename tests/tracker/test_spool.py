"""The disk side of the journal: what was acknowledged comes back, whatever happened to the process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tracker.click_line import ClickLine, click_line
from tracker.events import CLICK_COLUMNS, Clicked
from tracker.spool import RECORD_CLICKS, Spool, SpoolFull, lines_of, spooled_count


def click(number: int, **fields: str | None) -> ClickLine:
    values = {"visitor_id": f"11111111-1111-4111-8111-{number:012x}", "partner_id": "W-5ZzZyiR", "product": "livechat"}
    return click_line(
        Clicked(
            click_id=f"0190b5a4-7c3e-7d2a-9f00-{number:012x}",
            clicked_at=1_760_000_000_000 + number,
            **{**values, **fields},  # type: ignore[arg-type]
        )
    )


def drain(spool: Spool) -> list[ClickLine]:
    """Everything that can be claimed, as a deliverer takes it."""
    taken: list[ClickLine] = []
    while (segment := spool.claim()) is not None:
        while (record := segment.next_record()) is not None:
            taken += record.lines
            segment.mark_delivered(record)
        segment.remove()
        segment.release()
    return taken


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """A disk that fills up: the kernel refuses to write beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_clicks_come_back_as_they_went_in(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    strange = click(2, visitor_id=None, campaign="tab\tline\nback\\slash", user_agent="\ud800 é", verdict="opted-out")
    spool.append([click(1), strange])
    spool.append([click(3)])
    assert spooled_count(spool.folder) == 3
    assert spool.claim() is None, "a segment that is being written is nobody's to deliver"
    spool.rotate()
    assert drain(spool) == [click(1), strange, click(3)]
    assert spooled_count(spool.folder) == 0
    assert list(spool.folder.iterdir()) == []


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert spooled_count(tmp_path / "none") == 0
    assert Spool(tmp_path / "none").claim() is None


def test_a_claimed_segment_is_nobody_elses_until_released(tmp_path: Path) -> None:
    one, other = Spool(tmp_path), Spool(tmp_path)
    one.append([click(1)])
    one.rotate()
    segment = one.claim()
    assert segment is not None
    assert other.claim() is None
    segment.release()
    assert drain(other) == [click(1)]


def test_what_was_delivered_is_not_delivered_again_after_a_crash(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([click(1)])
    spool.append([click(2)])
    spool.rotate()
    segment = spool.claim()
    assert segment is not None
    record = segment.next_record()
    assert record is not None
    segment.mark_delivered(record)
    segment.release()
    assert spooled_count(tmp_path) == 1
    assert drain(Spool(tmp_path)) == [click(2)]


def test_segments_of_a_killed_process_are_delivered(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from test_spool import click; from tracker.spool import Spool;"
        "Spool(Path(sys.argv[1])).append([click(1), click(2)]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root, here = Path(__file__).parents[2], Path(__file__).parent
    environ = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"}
    dead = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environ, check=False)
    assert dead.returncode == -9
    assert spooled_count(tmp_path) == 2
    assert drain(Spool(tmp_path)) == [click(1), click(2)]


@pytest.mark.parametrize("cut", [1, 12, 13, 14, 100])
def test_a_torn_tail_loses_only_itself(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path)
    spool.append([click(1)])
    whole = segments(tmp_path)[0].stat().st_size
    spool.append([click(2)])
    spool.rotate()
    os.truncate(segments(tmp_path)[0], whole + cut)
    assert spooled_count(tmp_path) == 1
    assert drain(spool) == [click(1)]
    assert [path.stat().st_size for path in tmp_path.glob("*.torn")] == [cut]


def test_damage_in_the_middle_is_kept_and_hides_nothing_before_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([click(1)])
    first = segments(tmp_path)[0].stat().st_size
    spool.append([click(2)])
    spool.append([click(3)])
    spool.rotate()
    path = segments(tmp_path)[0]
    damaged = bytearray(path.read_bytes())
    damaged[first + 40] ^= 0xFF
    path.write_bytes(damaged)
    assert drain(spool) == [click(1)]
    assert [torn.read_bytes() for torn in tmp_path.glob("*.torn")] == [bytes(damaged[first:])]


def test_the_spool_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=2_000)
    kept = 0
    with pytest.raises(SpoolFull):
        for kept in range(100):
            spool.append([click(kept)])
    assert kept > 0
    assert spool.size_bytes() <= 2_000
    assert spooled_count(tmp_path) == kept
    spool.rotate()
    assert len(drain(spool)) == kept
    spool.append([click(0)])
    spool.rotate()


def test_segments_and_records_are_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=1_000)
    for number in range(6):
        spool.append([click(number)])
    assert len(segments(tmp_path)) > 1
    clicks = [click(number) for number in range(2 * RECORD_CLICKS + 1)]
    spool.append(clicks)
    spool.rotate()
    sizes = []
    while (segment := spool.claim()) is not None:
        while (record := segment.next_record()) is not None:
            sizes.append(len(record.lines))
        segment.remove()
        segment.release()
    assert sum(sizes) == len(clicks) + 6
    assert max(sizes) == RECORD_CLICKS


def test_a_write_that_failed_half_way_hides_nothing_that_comes_later(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([click(1)])
    whole = segments(tmp_path)[0].stat().st_size
    with files_no_larger_than(whole + 50), pytest.raises(OSError, match="too large"):
        spool.append([click(2)])
    spool.append([click(3)])
    spool.rotate()
    assert spooled_count(tmp_path) == 2
    assert sorted(drain(spool), key=lambda found: found.row) == [click(1), click(3)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Spool(tmp_path / "file" / "spool").append([click(1)])


def test_another_version_s_columns_are_put_in_our_order(tmp_path: Path) -> None:
    """A newer or an older process may have written the segment: columns are found by name."""
    line = click(1, campaign="tab\there")
    theirs = ["future", *reversed(CLICK_COLUMNS[:-1])]
    ours = line.row.rstrip("\n").split("\t")
    row = "\t".join(["x", *reversed(ours[:-1])]) + "\n"
    payload = json.dumps({"columns": theirs, "lines": [line._replace(row=row)]}).encode()
    assert lines_of(payload) == [line._replace(row="\t".join([*ours[:-1], ""]) + "\n")]
