"""Who may see what: every call and page of the app's tables, with every kind of credential."""

from __future__ import annotations

import hashlib
import re

import pytest
import world
from running_app import ADMIN_TOKEN, App, cookie_of
from starlette.routing import Route

from reports.app import ROUTES
from reports.calls import CALLS
from reports.sessions import SESSION_MS, Session, sign_session

FILLED = {"partner_id": "P", "license_id": "L1", "entry_id": "none", "token_id": "999", "payment_id": "pay1",
          "withdrawal_id": "999", "delivery_id": "none", "status": "paid"}  # fmt: skip
OPEN_PATHS = {"/", "/sign-in", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", ""} | {
    "/partner",
    "/admin",
    "/finance",
    "/marketing",
    "/admin/partners/{partner_id}",  # these only add the last slash
}


def filled(path: str) -> str:
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: FILLED[match[1]], path)


PAGES = [
    filled(route.path)
    for route in ROUTES
    if isinstance(route, Route) and "GET" in (route.methods or ()) and not route.path.startswith("/v2/")
    if route.path not in OPEN_PATHS
]
API = [(one.method, filled(one.path), one.scopes) for one in CALLS]


def test_the_tables_were_read() -> None:
    assert len(PAGES) >= 28 and len(API) >= 20


@pytest.mark.parametrize(("method", "path", "scopes"), API)
def test_calls(app: App, method: str, path: str, scopes: tuple[str, ...]) -> None:
    for token in ("", "nonsense", ADMIN_TOKEN + "x", "x" * 5000):
        answer = app.send(method, path, token)
        assert answer.status == 401, (token, answer.text)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert app.send(method, path, cookie=app.sign_in(ADMIN_TOKEN)).status == 401, "cookies are for pages"
    for scope in ("service", "marketing", "finance", "P", "admin"):
        if ("partner" if scope == "P" else scope) not in scopes:
            answer = app.send(method, path, app.tokens[scope])
            assert answer.status == (404 if scope == "P" else 403), (scope, answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_pages(app: App, path: str) -> None:
    for cookie in ("", "nonsense", "e30.0", app.sign_in(app.tokens["P"])[:-1]):
        answer = app.get(path, cookie=cookie)
        assert answer.status == 401 and "Sign in" in answer.text, cookie
    assert app.get(path, token=ADMIN_TOKEN).status == 401, "tokens are for the API"
    for who in ("P", "marketing", "finance", "admin"):
        answer = app.get(path, cookie=app.sign_in(app.tokens[who]))
        area = path.split("/")[1]
        areas = {"P": ("partner",), "admin": ("admin", "marketing", "finance")}
        may = areas.get(who, (who,))
        if area not in may:
            assert answer.status == (404 if who == "P" else 403), who
        else:
            names_nothing = "none" in path or "/999/" in path or "/qr." in path or path == "/admin/licenses"
            assert answer.status == (404 if names_nothing else 200), (who, answer.text)


def test_a_partner_sees_nothing_of_another(app: App) -> None:
    lines = app.admin("/v2/admin/commissions?partner_id=P")["items"]
    entry_id = lines[0]["entry_id"]
    own, other = app.sign_in(app.tokens["P"]), app.sign_in(app.tokens["Q"])
    for path in (
        f"/partner/commissions/{entry_id}",
        f"/partner/commissions/{entry_id}/fragment",
        "/partner/licenses/L1",
    ):
        assert app.get(path, cookie=own).status == 200, path
        assert app.get(path, cookie=other).status == 404, path
    chain = f"/v2/partners/commissions/{entry_id}/chain"
    assert app.get(chain, app.tokens["P"]).status == 200
    assert app.get(chain, app.tokens["Q"]).status == 404
    assert app.get("/admin/partners/Q/", cookie=own).status == 404
    assert app.get("/v2/partners/commissions?partner_id=Q", app.tokens["P"]).status == 400


def test_token_sign_in_sets_a_careful_cookie(app: App) -> None:
    answer = app.send("POST", "/", form={"token": app.tokens["P"]})
    assert (answer.status, answer.headers["Location"]) == (303, "/partner/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie and "Max-Age=43200" in cookie
    assert app.get("/", cookie=cookie_of(answer)).headers["Location"] == "/partner/"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("/partner/clicks?cursor=a_b-", "/partner/clicks?cursor=a_b-"),
        ("//evil.example", "/partner/"),
        ("/\\evil.example", "/partner/"),
        ("https://evil.example", "/partner/"),
        ("/x\r\nSet-Cookie: a=b", "/partner/"),
        ("", "/partner/"),
    ],
)
def test_after_sign_in_only_to_our_own_pages(app: App, wanted: str, expected: str) -> None:
    answer = app.send("POST", "/", form={"token": app.tokens["P"], "wanted": wanted})
    assert answer.headers["Location"] == expected


def test_sign_in_refusals(app: App) -> None:
    assert app.send("POST", "/", form={"token": "wrong"}).status == 401
    assert app.send("POST", "/", form={}).status == 400
    assert app.send("POST", "/", form={"token": app.tokens["service"]}).status == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = app.send("POST", "/", form={"token": app.tokens["P"]}, headers=headers)
        assert answer.status == 403 and not cookie_of(answer)


def test_sign_out_ends_the_session_for_copies_too(app: App) -> None:
    cookie = app.sign_in(app.tokens["P"])
    assert app.send("POST", "/sign-out", cookie=cookie, form={"csrf": "wrong"}).status == 403
    assert app.send("POST", "/sign-out", cookie=cookie, form={"csrf": _csrf(app, "Q")}).status == 403
    assert app.get("/partner/", cookie=cookie).status == 200
    answer = app.send(
        "POST", "/sign-out", cookie=cookie, form={"csrf": _csrf_of(app.get("/partner/", cookie=cookie).text)}
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert app.get("/partner/", cookie=cookie).status == 401


def test_a_revoked_token_ends_its_sessions(app: App) -> None:
    made = app.send("POST", "/v2/admin/partners/Q/tokens", ADMIN_TOKEN, body={"label": "lost laptop"}).json
    cookie = app.sign_in(made["token"])
    assert app.get("/partner/", cookie=cookie).status == 200
    assert app.send("DELETE", f"/v2/admin/partners/P/tokens/{made['id']}", ADMIN_TOKEN).status == 404
    assert app.send("DELETE", f"/v2/admin/partners/Q/tokens/{made['id']}", ADMIN_TOKEN).status == 204
    assert app.get("/partner/", cookie=cookie).status == 401
    assert app.get("/v2/partners/commissions", made["token"]).status == 401


def test_sessions_expire_and_cannot_be_made_up(app: App) -> None:
    def cookie(expires_at: int, secret: bytes = world.SECRET) -> str:
        return sign_session(secret, Session("id", "admin", "", "", expires_at))

    assert app.get("/admin/", cookie=cookie(world.NOW + SESSION_MS)).status == 200
    assert app.get("/admin/", cookie=cookie(world.NOW)).status == 401
    assert app.get("/admin/", cookie=cookie(world.NOW + SESSION_MS, b"another secret")).status == 401


def test_sign_in_links_work_once(app: App) -> None:
    link = app.sign_in_link("partner", "P")
    assert app.send("HEAD", link).status == 401, "a look does not use it up"
    assert app.send("GET", link, headers={"Sec-Purpose": "prefetch"}).status == 401
    answer = app.get(link)
    assert (answer.status, answer.headers["Location"]) == (303, "/partner/")
    assert "Partner ID P" in app.get("/partner/", cookie=cookie_of(answer)).text
    assert app.get(link).status == 401
    assert app.get("/sign-in").status == 401
    assert app.get(app.sign_in_link("admin")).headers["Location"] == "/admin/"
    assert link.partition("=")[2].encode() not in b" ".join(map(bytes, app.redis.scan_iter("*"))), (
        "only its hash is kept"
    )
    assert 0 < app.redis.ttl(next(app.redis.scan_iter(f"*{_key_of(app)}"))) <= 900


def _key_of(app: App) -> str:
    return hashlib.sha256(app.sign_in_link("admin").partition("=")[2].encode()).hexdigest()


def test_links_by_mail_tell_nobody_who_is_a_partner(app: App) -> None:
    outbox = app.data / "outbox"
    known = app.send("POST", "/", form={"email": " P@Partners.Example "})
    unknown = app.send("POST", "/", form={"email": "stranger@example.com"})
    assert (known.status, known.text) == (unknown.status, unknown.text)
    letters = list(outbox.iterdir())
    assert len(letters) == 1 and letters[0].stat().st_mode & 0o077 == 0
    link = re.search(r"http://localhost:8001(/sign-in\?key=\S+)", letters[0].read_text())
    assert link
    assert app.get(link[1]).headers["Location"] == "/partner/"
    for _ in range(8):
        app.send("POST", "/", form={"email": "p@partners.example"})
    assert len(list(outbox.iterdir())) == 5


def test_every_answer_has_the_security_headers(app: App) -> None:
    for path in ("/", "/partner/", "/nope", "/v2/admin/partners", "/static/app.css", "/metrics"):
        headers = app.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("DELETE", "/v2/admin/partners", 405),
        ("POST", "/v2/admin/partners/P/tokens", 401),
        ("GET", "/nothing", 404),
        ("GET", "/v2/admin/partners/%00/tokens", 401),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("PUT", "/", 405),
    ],
)
def test_errors_are_problems_for_programs_and_pages_for_people(app: App, method: str, path: str, status: int) -> None:
    answer = app.send(method, path)
    assert answer.status == status
    if path.startswith("/v2/"):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status and answer.json["detail"]
    else:
        assert answer.headers["Content-Type"].startswith("text/html") and "<h1>" in answer.text


def test_a_huge_body_is_refused(app: App) -> None:
    answer = app.send("POST", "/v2/admin/service-tokens", ADMIN_TOKEN, body=b"x" * 100_000)
    assert answer.status == 413


def _csrf_of(text: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    assert found
    return found[1]


def _csrf(app: App, partner_id: str) -> str:
    return _csrf_of(app.get("/partner/", cookie=app.sign_in(app.tokens[partner_id])).text)
