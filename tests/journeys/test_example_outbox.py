"""What the example sites have to tell is told at last, once, whatever is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.example_sites.conversions import Conversions
from reports.example_sites.outbox import MOST_WAITING, Outbox, OutboxFull
from tests.harness import ADMIN_TOKEN, Journey, free_port


def tracker_of(journey: Journey) -> str:
    return journey.server.environ["LASTTOUCH_TRACKER_URL"]


def test_what_was_not_taken_waits_and_is_told_again(journey: Journey, tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite3"
    license_id = journey.id("L")
    body = {"license_id": license_id, "product": "livechat"}
    away = Outbox(file, Conversions(f"http://127.0.0.1:{free_port()}", ADMIN_TOKEN))
    assert away.tell("/v1/signups", license_id, license_id, body).told == "waiting"
    assert away.tell_waiting() > 1
    wrong_token = Outbox(file, Conversions(tracker_of(journey), "lt_s_wrong"))
    assert wrong_token.tell_waiting() > 1
    back = Outbox(file, Conversions(tracker_of(journey), ADMIN_TOKEN))
    back.tell_waiting()
    (call,) = back.about(license_id)
    assert (call.told, call.answer["license_id"]) == ("taken", license_id)
    # Told once more, as after a crash between the answer and its being kept: it is the same signup.
    assert Conversions(tracker_of(journey), ADMIN_TOKEN).tell("/v1/signups", body) == call.answer


def test_what_is_tried_in_vain_goes_behind_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3", Conversions(f"http://127.0.0.1:{free_port()}", "t"))
    for path in ("/v1/signups", "/v1/payments", "/v1/refunds"):
        outbox.tell(path, "1", "s", {})
    caplog.clear()
    for _ in range(4):
        outbox.tell_waiting()
    paths = [record.getMessage().partition(" ")[0] for record in caplog.records]
    assert paths == ["/v1/signups", "/v1/payments", "/v1/refunds", "/v1/signups"]


def test_what_is_refused_is_kept_with_the_reason_and_holds_nothing_up(journey: Journey, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3", Conversions(tracker_of(journey), ADMIN_TOKEN))
    bad = outbox.tell("/v1/payments", "p", "s", {"payment_id": journey.id("p"), "license_id": "L", "amount_cents": -1})
    assert bad.told == "refused"
    assert set(bad.answer["fields"]) == {"amount_cents", "currency"}
    good = outbox.tell("/v1/signups", "L", "s", {"license_id": journey.id("L"), "product": "livechat"})
    assert good.told == "taken"
    assert [call.told for call in outbox.about("s")] == ["refused", "taken"]


def test_an_outbox_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_WAITING >= 1000
    monkeypatch.setattr("reports.example_sites.outbox.MOST_WAITING", 1)
    outbox = Outbox(tmp_path / "outbox.sqlite3", Conversions(f"http://127.0.0.1:{free_port()}", "t"))
    outbox.tell("/v1/signups", "a", "s", {})
    with pytest.raises(OutboxFull):
        outbox.tell("/v1/signups", "b", "s", {})
