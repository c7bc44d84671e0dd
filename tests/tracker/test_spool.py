"""The disk side of the journal: what was acknowledged comes back, whatever happened to the process."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tracker.click_line import ClickLine, click_line
from tracker.events import CLICK_COLUMNS, Clicked
from tracker.spool import Spool, SpoolFull, spooled_count
from tracker.spool_records import RECORD_CLICKS, lines_of


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
        while records := segment.next_records():
            taken += [line for record in records for line in record.lines]
            segment.mark_delivered(records)
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
    segment.mark_delivered(segment.next_records()[:1])
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


def written(folder: Path) -> tuple[bytes, list[int]]:
    """The bytes of a segment of two records of one click each, and where each record ends."""
    spool, ends = Spool(folder), []
    for number in (1, 2):
        spool.append([click(number)])
        ends.append(segments(folder)[0].stat().st_size)
    spool.rotate()
    data = segments(folder)[0].read_bytes()
    segments(folder)[0].unlink()
    return data, ends


def left(folder: Path) -> bytes:
    """What was set aside; removed with this."""
    torn = b""
    for path in folder.iterdir():
        assert path.suffix == ".torn"
        torn += path.read_bytes()
        path.unlink()
    return torn


def test_a_segment_that_was_cut_off_anywhere_loses_only_what_was_cut(tmp_path: Path) -> None:
    data, ends = written(tmp_path)
    for size in range(len(data) + 1):
        (tmp_path / "clicks-1-cut.spool").write_bytes(data[:size])
        whole = [end for end in ends if end <= size]
        assert spooled_count(tmp_path) == len(whole)
        assert drain(Spool(tmp_path)) == [click(number + 1) for number in range(len(whole))]
        assert left(tmp_path) == data[max(whole, default=0) : size]


def test_a_flipped_bit_anywhere_costs_no_more_than_its_record(tmp_path: Path) -> None:
    data, ends = written(tmp_path)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "clicks-1-damaged.spool").write_bytes(damaged)
        hit = sum(end <= at for end in ends)
        others = [click(2 - hit)]
        begin, end = [0, *ends][hit], ends[hit]
        if at == begin + 12:  # the mark of what was delivered: what may not be is delivered again
            others.insert(hit, click(hit + 1))
            begin = end
        assert drain(Spool(tmp_path)) == others
        assert left(tmp_path) == bytes(damaged[begin:end])


def test_a_tail_of_zeros_as_a_power_failure_leaves_it_hides_nothing(tmp_path: Path) -> None:
    data, _ = written(tmp_path)
    (tmp_path / "clicks-1-zeros.spool").write_bytes(data + bytes(3_000_000))
    assert drain(Spool(tmp_path)) == [click(1), click(2)]
    assert Spool(tmp_path).torn_bytes() == 3_000_000


def test_a_segment_of_an_older_version_is_read(tmp_path: Path) -> None:
    """As bytes, so that no change of the code can change both sides of it."""
    visitor, at = "11111111-1111-4111-8111-000000000001", 1_760_000_000_001
    old = {
        "columns": ["click_id", "clicked_at", "visitor_id", "partner_id", "product", "campaign", "dropped_since"],
        "lines": [[1, f"0190\t{at}\t{visitor}\tW-1\tlivechat\tpp_x\t7\n", visitor, f"{at} 0190 W-1 livechat pp_x"]],
    }
    payload = json.dumps(old, separators=(",", ":")).encode()
    header = struct.pack(">IIIB", len(payload), zlib.crc32(payload, 1), 1, 0)
    not_understood = b'{"columns":[],"lines":"?"}'
    strange = struct.pack(">IIIB", len(not_understood), zlib.crc32(not_understood, 1), 1, 0) + not_understood
    (tmp_path / "clicks-1-old.spool").write_bytes(strange + header + payload)
    (found,) = drain(Spool(tmp_path))
    values = dict(zip(CLICK_COLUMNS, found.row.rstrip("\n").split("\t"), strict=True))
    assert (found.shard, found.visitor_id, found.touch) == (1, visitor, f"{at} 0190 W-1 livechat pp_x")
    assert (values["click_id"], values["clicked_at"], values["campaign"]) == ("0190", str(at), "pp_x")
    assert left(tmp_path) == strange


@pytest.mark.parametrize("how", ["removed", "moved", "removed, and nothing more is written"])
def test_a_folder_that_somebody_took_away_loses_nothing_that_is_still_open(tmp_path: Path, how: str) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append([click(1)])
    if how == "moved":
        spool.folder.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(spool.folder)
    expected = [click(1)]
    if "nothing more" not in how:
        spool.append([click(2)])
        spool.append([click(3)])
        expected += [click(2), click(3)]
    spool.rotate()
    assert drain(spool) == expected


def test_a_full_disk_leaves_no_empty_segments_behind(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with files_no_larger_than(0):
        for number in range(5):
            with pytest.raises(OSError, match="too large"):
                spool.append([click(number)])
    assert list(tmp_path.iterdir()) == []
    spool.append([click(1)])
    assert spooled_count(tmp_path) == 1
    spool.rotate()


def test_what_cannot_be_marked_is_sent_again_by_another_process_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([click(1)])
    spool.rotate()
    segment = spool.claim()
    assert segment is not None
    with files_no_larger_than(0):
        segment.mark_delivered(segment.next_records())
    segment.release()
    again = spool.claim()
    assert again is not None and again.next_records() == []
    again.release()
    assert drain(Spool(tmp_path)) == [click(1)]


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
        while records := segment.next_records():
            sizes += [len(record.lines) for record in records]
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
