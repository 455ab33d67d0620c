"""The door before everything the studio answers: who may come in, from which address, under which name.

It stands before Streamlit's own application: what it does not let through reaches no page, no file, no upload and no
websocket. The pages ask `studio.door.access` what the one who came in may do.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from studio.door import login_page, oidc
from studio.door.access import Person, Role

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response

    from studio.door.sessions import Sessions

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS = "WINNOW_HOSTS"
"""Names, separated by commas, under which a proxy or a network's own name server makes the studio known."""

LOGIN, LOGOUT = "/login", "/logout"
OF_PROVIDER = frozenset({"/auth/login", "/auth/logout", "/oauth2callback"})
"""Streamlit's own routes, on the way to a provider and back."""

STREAMLITS_UPLOADS = "/_stcore/upload_file"
"""Keeps what it is sent in memory, from whoever is logged in, as often as they like; no page asks for it."""

MOST_FORM_BYTES = 10_000
PAUSE_SECONDS = 0.5
"""Before a wrong password is answered."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

POLICY = "; ".join(
    (
        "default-src 'self'",
        # Streamlit's components run from texts and blobs; Vega compiles its expressions.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'self' data: blob:",
        "frame-ancestors 'self'",
        "object-src 'none'",
        "base-uri 'self'",
    )
)
"""For the browser: whatever a page says, nothing is fetched from elsewhere and nothing is sent there."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
)


class Gate:
    """An ASGI application before another one."""

    def __init__(self, app: Application, sessions: Callable[[], Sessions]) -> None:
        self.app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        from starlette.requests import HTTPConnection

        connection, sessions = HTTPConnection(scope), self._sessions()
        refusal = _refused(connection, sessions)
        if refusal is not None:
            await _refuse(scope, receive, send, 403, refusal)
        elif not sessions.needed:
            await self.app(scope, receive, _with_headers(send))
        else:
            await self._for_people(connection, sessions, receive, send)

    async def _for_people(self, connection: HTTPConnection, sessions: Sessions, receive: Receive, send: Send) -> None:
        scope, path = connection.scope, connection.scope["path"]
        person = sessions.person(connection.cookies)
        if scope["type"] == "websocket":
            if person is None:
                await _refuse(scope, receive, send, 403, "")
            else:
                await self.app(scope, *_while_valid(sessions, connection, receive, send))
        elif path == LOGIN or (path == LOGOUT and person is None):
            await (await _login(connection, sessions, person, receive))(scope, receive, _with_headers(send))
        elif path == LOGOUT and person is not None:
            sessions.end(person)
            await _gone(sessions, person)(scope, receive, _with_headers(send))
        elif person is not None or (sessions.rules.provider and path in OF_PROVIDER):
            await self.app(scope, receive, _with_headers(send))
        elif scope["method"] == "GET" and "text/html" in connection.headers.get("accept", ""):
            await _to_login(connection)(scope, receive, _with_headers(send))
        else:
            await _refuse(scope, receive, send, 401, "Log in first.")


def _refused(connection: HTTPConnection, sessions: Sessions) -> str | None:
    """Why a request is answered by nothing at all, whoever sends it."""
    host = connection.headers.get("host", "")
    # Under a name of somebody else's no cookie of ours is sent: with a login such a page stays before the door anyway.
    if not (is_known_host(host) or (sessions.needed and not _named_hosts())):
        return f"This studio is not known as {host!r}: name it in {HOSTS}."
    scope = connection.scope
    if STREAMLITS_UPLOADS in scope["path"]:
        return "Files come in by another way."
    if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
        origin = connection.headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "The request comes from another site."
        if connection.headers.get("sec-fetch-site") == "cross-site":
            return "The request comes from another site."
    return None


def is_known_host(host: str) -> bool:
    """Whether a request's Host is this machine: an address, one of its names, or a name it was given.

    A page of somebody else's whose name is made to point here (DNS rebinding) would come under that name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = name.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name in _own_names() | _named_hosts():
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"}


def _named_hosts() -> set[str]:
    return {name.strip().lower() for name in os.environ.get(HOSTS, "").split(",") if name.strip()}


def _while_valid(sessions: Sessions, connection: HTTPConnection, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """What a websocket receives and sends, until its session ends: then it is closed."""
    closed = False

    async def valid() -> bool:
        nonlocal closed
        if not closed and sessions.person(connection.cookies) is None:
            closed = True
            await send({"type": "websocket.close", "code": 1008})
        return not closed

    async def received() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not await valid():
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    async def sent(message: Message) -> None:
        if await valid():
            await send(message)

    return received, sent


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *(h for h in HEADERS if h[0] not in known)]
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(words, status)(scope, receive, _with_headers(send))


# -------------------------------------------------------------------- logging in and out


def _to_login(connection: HTTPConnection) -> Response:
    from starlette.responses import HTMLResponse, RedirectResponse

    query = connection.scope.get("query_string", b"").decode("latin-1")
    wanted = connection.scope["path"] + (f"?{query}" if query else "")
    address, headers = f"{LOGIN}?{urlencode({'next': wanted})}", {"cache-control": "no-store"}
    if connection.headers.get("sec-fetch-site") == "cross-site":
        # Who follows a shared link comes without the cookie. This page's own refresh comes with it.
        page = f'<!doctype html><title>Winnow</title><meta http-equiv="refresh" content="0;url={escape(address)}">'
        return HTMLResponse(page, 401, headers=headers)
    return RedirectResponse(address, 303, headers=headers)


def inside(address: str | None) -> str:
    """Where to go after logging in: a page of this studio, whatever was asked for."""
    try:
        parts = urlsplit(address or "/")
    except ValueError:
        return "/"
    safe = parts.path.startswith("/") and not parts.path.startswith(("//", "/\\")) and "\\" not in parts.path
    if parts.scheme or parts.netloc or not safe or parts.path in (LOGIN, LOGOUT) or not parts.path.isprintable():
        return "/"
    return parts.path + (f"?{parts.query}" if parts.query else "")


async def _login(connection: HTTPConnection, sessions: Sessions, person: Person | None, receive: Receive) -> Response:
    from starlette.requests import Request
    from starlette.responses import RedirectResponse

    request = Request(connection.scope, receive)
    wanted = inside(request.query_params.get("next"))
    if request.method == "POST":
        return await _try(request, sessions, wanted)
    if person is not None:
        return RedirectResponse(wanted, 303)
    return login_page.drawn(request, sessions.rules, wanted, provider=_provider(sessions))


async def _try(request: Request, sessions: Sessions, wanted: str) -> Response:
    from starlette.responses import RedirectResponse

    address = _network(request.client.host if request.client else "")
    password = await _password(request)
    # Not before the form has arrived: of a thousand that wait for their last byte, all but five are still refused.
    wait = sessions.attempts.wait_seconds(address)
    if wait:
        return login_page.drawn(
            request, sessions.rules, wanted, wait_seconds=wait, status=429, provider=_provider(sessions)
        )
    role = sessions.role_for(password) if password is not None else None
    if role is None:
        sessions.attempts.failed(address)
        await asyncio.sleep(PAUSE_SECONDS)
        return login_page.drawn(request, sessions.rules, wanted, wrong=True, status=401, provider=_provider(sessions))
    if role is Role.EDITOR or not sessions.rules.password:  # else who may look could go on to guess the other one
        sessions.attempts.succeeded(address)
    answer = RedirectResponse(wanted, 303, headers={"cache-control": "no-store"})
    answer.set_cookie(
        sessions.cookie, sessions.begin(role), httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


def _network(address: str) -> str:
    """What attempts are counted by: a whole network where one machine has as many addresses as it likes (IPv6)."""
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


async def _password(request: Request) -> str | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            return None
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).get("password", [None])[0]


def _provider(sessions: Sessions) -> str | None:
    """Where the provider's login begins; null where there is none, or it lacks something."""
    if not sessions.rules.provider:
        return None
    from streamlit.errors import Error

    try:
        return oidc.login_address()
    except Error:
        return None


def _gone(sessions: Sessions, person: Person) -> Response:
    from starlette.responses import RedirectResponse

    to = "/auth/logout" if person.name is not None else LOGIN
    answer = RedirectResponse(to, 303, headers={"cache-control": "no-store"})
    answer.delete_cookie(sessions.cookie, httponly=True, samesite="strict")
    return answer
