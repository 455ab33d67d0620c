"""Who comes in: nobody without a session, and from where."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from curation.errors import WinnowError
from studio.door import application as door
from studio.door import gate
from studio.door.access import Role
from studio.door.gate import Gate
from studio.door.sessions import MOST_FAILURES, Rules, Sessions

RULES = Rules(password="sesame", viewer_password="look")
CLOSED = (
    "/", "/browse?where=true", "/ingest", "/_stcore/health", "/_stcore/host-config", "/_stcore/stream",
    "/_stcore/script-health-check", "/_stcore/metrics", "/media/0123.png",
    "/component/winnow/index.js", "/_stcore/bidi-components/x", "/static/js/index.js", "/app/static/secret.txt",
    "/files/upload", "/files/download", "/auth/login", "/oauth2callback", "/login/", "/login/../browse", "/logins",
    "//login", "/%2e%2e/etc/passwd", "/favicon.png", "/LOGIN",
)  # fmt: skip
"""What Streamlit, its components and the studio's own routes answer to those who are in."""
STREAM = "ws://127.0.0.1:8501/_stcore/stream"


async def behind(scope, receive, send):
    """The application behind the gate: it answers everybody."""
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                heard = await socket.receive_text()
                await asyncio.sleep(0.2 if heard == "slow" else 0)
                await socket.send_text("heard " + heard)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"secrets"})


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSE_SECONDS", 0.0)


def studio(rules: Rules = RULES, folder: Path | None = None, **headers: str) -> TestClient:
    sessions = Sessions(rules, folder)
    client = TestClient(
        Gate(behind, lambda: sessions), base_url="http://127.0.0.1:8501", follow_redirects=False, headers=headers
    )
    client.sessions = sessions
    return client


def logged_in(password: str, **options) -> TestClient:
    client = studio(**options)
    assert client.post("/login", data={"password": password}).status_code == 303
    return client


# -------------------------------------------------------------------- without a session


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_without_a_session_nothing_but_the_login_page_answers(method: str) -> None:
    client = studio()
    for path in CLOSED:
        answer = client.request(method, path, headers={"accept": "*/*"})
        assert (answer.status_code, "secrets" in answer.text) == (401, False), path


def test_a_browser_is_sent_to_the_login_page_and_back_to_where_it_wanted() -> None:
    answer = studio().get("/browse?where=turns%20%3E%201", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fbrowse%3Fwhere%3Dturns%2520%253E%25201"
    client = studio()
    done = client.post(answer.headers["location"], data={"password": "sesame"})
    assert done.headers["location"] == "/browse?where=turns%20%3E%201"


def test_a_websocket_without_a_session_is_closed() -> None:
    with pytest.raises(WebSocketDisconnect), studio().websocket_connect(STREAM):
        pass


def test_without_a_password_everybody_comes_in() -> None:
    assert studio(Rules()).get("/browse").text == "secrets"


# -------------------------------------------------------------------- logging in


@pytest.mark.parametrize(("password", "role"), [("sesame", Role.EDITOR), ("look", Role.VIEWER)])
def test_a_password_opens_everything_and_says_who_one_is(password: str, role: Role) -> None:
    client = logged_in(password)
    assert client.get("/_stcore/health").text == "secrets"
    assert client.sessions.person(dict(client.cookies)).role is role
    with client.websocket_connect(STREAM) as socket:
        socket.send_text("a")
        assert socket.receive_text() == "heard a"


def test_the_cookie_is_for_the_server_only_and_for_this_site_only() -> None:
    cookie = studio().post("/login", data={"password": "sesame"}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "sesame" not in cookie


@pytest.mark.parametrize("password", ["", "Sesame", "sesame ", "\x00", "sésame", "x" * 100_000])
def test_a_wrong_password_stays_outside(password: str) -> None:
    client = studio()
    assert client.post("/login", data={"password": password}).status_code == 401
    assert not client.cookies
    assert client.get("/").status_code == 401


def test_after_five_wrong_passwords_even_the_right_one_waits() -> None:
    client = studio()
    for _ in range(MOST_FAILURES):
        client.post("/login", data={"password": "guess"})
    answer = client.post("/login", data={"password": "sesame"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    client.sessions.attempts.failures = {a: (n, at - 61) for a, (n, at) in client.sessions.attempts.failures.items()}
    assert client.post("/login", data={"password": "sesame"}).status_code == 303


def test_who_may_look_does_not_guess_the_editors_password_in_between() -> None:
    client = studio()
    for _ in range(MOST_FAILURES):
        assert client.post("/login", data={"password": "guess"}).status_code == 401
        last = client.post("/login", data={"password": "look"}).status_code
    assert last == 429


def test_forms_that_arrive_at_once_are_counted_one_by_one() -> None:
    sessions = Sessions(RULES)
    asked = Gate(behind, lambda: sessions)

    async def tried() -> int:
        told: list[int] = []
        scope = {
            "type": "http", "method": "POST", "path": "/login", "query_string": b"", "client": ("10.0.0.1", 1),
            "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "server": ("127.0.0.1", 80),
        }  # fmt: skip

        async def receive() -> dict[str, object]:
            await arrived.wait()
            return {"type": "http.request", "body": b"password=guess", "more_body": False}

        async def send(message) -> None:
            told.extend([message["status"]] if "status" in message else [])

        await asked(scope, receive, send)
        return told[0]

    async def all_at_once() -> list[int]:
        waiting = [asyncio.ensure_future(tried()) for _ in range(20)]
        await asyncio.sleep(0)
        arrived.set()
        return await asyncio.gather(*waiting)

    arrived = asyncio.Event()
    statuses = asyncio.run(all_at_once())
    assert statuses.count(401) == MOST_FAILURES
    assert statuses.count(429) == 20 - MOST_FAILURES


@pytest.mark.parametrize(
    ("address", "counted"),
    [("10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:2", "2001:db8::/64"), ("", "")],
)
def test_attempts_are_counted_by_the_network_that_one_machine_has(address: str, counted: str) -> None:
    assert gate._network(address) == counted


def test_a_cookie_that_was_made_up_changed_or_is_too_old_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in("look")
    name, good = client.sessions.cookie, client.cookies[client.sessions.cookie]
    other = Sessions(RULES).begin(Role.EDITOR)
    for forged in ("", "editor", good[:-2] + "AA", "eyJyb2xlIjoiZWRpdG9yIn0" + good[good.index(".") :], other):
        assert client.sessions.person({name: forged}) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    assert client.sessions.person({name: good}) is None


def test_who_logs_out_is_out_everywhere_and_open_pages_are_closed() -> None:
    client = logged_in("sesame")
    copied = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    with client.websocket_connect(STREAM) as socket:
        assert client.get("/logout").headers["location"] == "/login"
        assert client.get("/", headers={"cookie": copied}).status_code == 401
        socket.send_text("still there?")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_what_a_page_goes_on_to_say_reaches_nobody_who_is_out() -> None:
    client = logged_in("sesame")
    with client.websocket_connect(STREAM) as socket:
        socket.send_text("slow")
        client.get("/logout")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_a_session_lives_on_in_the_next_studio_until_a_password_changes(tmp_path: Path) -> None:
    client = logged_in("sesame", folder=tmp_path)
    kept = dict(client.cookies)
    assert Sessions(RULES, tmp_path).person(kept).role is Role.EDITOR
    assert Sessions(Rules(password="other", viewer_password="look"), tmp_path).person(kept) is None
    assert (tmp_path / "sessions.json").stat().st_mode & 0o077 == 0
    client.get("/logout")
    assert Sessions(RULES, tmp_path).person(kept) is None


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "//[",
        "http://[x",
        "/login",
        "/logout",
    ],
)
def test_nobody_is_sent_elsewhere_after_logging_in(wanted: str) -> None:
    answer = studio().post("/login", params={"next": wanted}, data={"password": "sesame"})
    assert answer.headers["location"] == "/"


def test_the_login_page_speaks_both_languages_and_needs_no_other_file() -> None:
    client = studio()
    english, chinese = client.get("/login"), client.get("/login", headers={"accept-language": "zh-CN,en;q=0.5"})
    assert '<html lang="en">' in english.text
    assert "Password</label>" in english.text
    assert '<html lang="zh">' in chinese.text
    assert "密码</label>" in chinese.text
    assert "http://" not in english.text
    assert "<script" not in english.text
    hostile = client.get("/login", params={"next": '/"><script>alert(1)</script>', "language": "<b>"})
    assert "<script" not in hostile.text


def test_who_follows_a_shared_link_from_elsewhere_is_let_in_by_the_cookie_that_did_not_come_along() -> None:
    answer = studio().get("/browse", headers={"accept": "text/html", "sec-fetch-site": "cross-site"})
    assert 'http-equiv="refresh" content="0;url=/login?next=%2Fbrowse"' in answer.text
    assert logged_in("look").get("/login?next=%2Fbrowse").headers["location"] == "/browse"


# -------------------------------------------------------------------- from where


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8501", "", "a@b"])
def test_a_name_of_somebody_elses_is_not_answered(host: str) -> None:
    client = studio(Rules())
    assert client.get("/", headers={"host": host}).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM, headers={"host": host}):
        pass


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "192.168.1.7:8501", "LOCALHOST"])
def test_this_machines_names_are_answered(host: str) -> None:
    assert studio(Rules()).get("/", headers={"host": host}).status_code == 200


def test_a_name_that_was_given_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_HOSTS", "studio.example.org, other.example.org")
    assert studio(Rules()).get("/", headers={"host": "studio.example.org"}).status_code == 200
    assert studio().get("/login", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://[x", "127.0.0.1:8501", "http://127.0.0.1:9999", "http://localhost:8501"],
)
def test_what_another_site_sends_is_refused(origin: str) -> None:
    client = logged_in("sesame")
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/files/upload", headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM, headers={"origin": origin}):
        pass


def test_nothing_is_uploaded_into_memory() -> None:
    for client in (studio(Rules()), logged_in("look"), logged_in("sesame")):
        assert client.put("/_stcore/upload_file/session/file", content=b"x").status_code == 403


def test_the_browser_is_told_to_fetch_nothing_from_elsewhere() -> None:
    headers = studio(Rules()).get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "img-src 'self' data: blob:" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.7", "studio.example.org"])
def test_others_are_not_let_in_without_a_login(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WinnowError, match="Without a login"):
        door.check_address(address, Rules())
    door.check_address(address, RULES)
    monkeypatch.setenv(door.WITHOUT_LOGIN, "1")
    door.check_address(address, Rules())


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "unix:///tmp/studio"])
def test_this_machine_alone_needs_no_login(address: str) -> None:
    door.check_address(address, Rules())


# -------------------------------------------------------------------- a provider's word


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch):
    """Streamlit's secrets name a provider; a function that makes the cookies Streamlit would set for somebody."""
    from streamlit.web.server import server_util
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    monkeypatch.setattr(server_util, "get_cookie_secret", lambda: "cookie secret of thirty-two letters")

    def cookies(secret: str = "cookie secret of thirty-two letters", **told: object) -> dict[str, str]:
        told = {"is_logged_in": True, "origin": "http://127.0.0.1:8501", **told}
        return {"_streamlit_user": create_signed_value(secret, "_streamlit_user", json.dumps(told)).decode()}

    return cookies


WITH_PROVIDER = Rules(provider=True, editors=frozenset({"ed@example.org"}), viewers=frozenset({"@example.org"}))


@pytest.mark.parametrize(
    ("address", "role"),
    [("ed@example.org", Role.EDITOR), ("Ed@Example.org", Role.EDITOR), ("vi@example.org", Role.VIEWER),
     ("stranger@example.com", None), ("ed@example.org.example.com", None), ("", None)],
)  # fmt: skip
def test_a_providers_people_are_editors_viewers_or_stay_outside(provider, address: str, role: Role | None) -> None:
    client = studio(WITH_PROVIDER)
    cookies = provider(email=address)
    person = client.sessions.person(cookies)
    assert (person and person.role) is role
    client.cookies.update(cookies)
    assert (client.get("/browse").text == "secrets") is (role is not None)


def test_a_providers_cookie_that_is_forged_unverified_or_of_nobody_does_not_count(provider) -> None:
    sessions = Sessions(WITH_PROVIDER)
    assert sessions.person(provider(email="ed@example.org")).name == "ed@example.org"
    assert sessions.person(provider(secret="another secret of thirty letters", email="ed@example.org")) is None
    assert sessions.person(provider(email="ed@example.org", email_verified=False)) is None
    assert sessions.person(provider(email="ed@example.org", is_logged_in=False)) is None
    assert sessions.person({"_streamlit_user": "ed@example.org"}) is None


def test_with_a_provider_only_its_own_routes_and_the_login_page_answer() -> None:
    client = studio(WITH_PROVIDER)
    for path in CLOSED:
        expected = 200 if path in gate.OF_PROVIDER else 401
        assert client.get(path, headers={"accept": "*/*"}).status_code == expected
    assert client.get("/login").status_code == 200
