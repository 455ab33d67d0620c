"""A provider of OpenID Connect on this machine: it lets in whoever a test says, without a form."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "winnow"


class Provider:
    """Discovery, authorization code, token and keys, as OpenID Connect Core 1.0 has them (sections 3.1 and 10)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.person: dict[str, Any] = {}
        """Claims of whoever is logged in there now."""
        self.visits = 0
        self._key = RSAKey.generate_key(2048, {"kid": "only", "use": "sig", "alg": "RS256"})
        self._asked: dict[str, dict[str, str]] = {}

    def discovery(self) -> dict[str, Any]:
        """What a client is told about the provider."""
        at = self.address
        return {
            "issuer": at,
            "authorization_endpoint": f"{at}/authorize",
            "token_endpoint": f"{at}/token",
            "jwks_uri": f"{at}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> dict[str, Any]:
        """The public key of its signatures."""
        return {"keys": [self._key.as_dict(private=False)]}

    def authorized(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to, with a code for the person who is logged in."""
        self.visits += 1
        code = f"code-{self.visits}"
        self._asked[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, code: str) -> dict[str, Any]:
        """The signed word about the person, once for each code."""
        asked, now = self._asked.pop(code), int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "sub": self.person["email"], "iat": now, "exp": now + 600}
        if "nonce" in asked:
            claims["nonce"] = asked["nonce"]
        signed = jwt.encode({"alg": "RS256", "kid": "only"}, {**claims, **self.person}, self._key)
        return {"access_token": "unused", "token_type": "Bearer", "expires_in": 600, "id_token": signed}


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that answers until the test is over."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    answering = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = _answers(answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield answering
    finally:
        server.shutdown()
        server.server_close()


def _answers(known: Provider) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/authorize":
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                self.send_response(302)
                self.send_header("Location", known.authorized(asked))
                self.end_headers()
            else:
                self._say({"/.well-known/openid-configuration": known.discovery, "/keys": known.keys}[url.path]())

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._say(known.token(form["code"][0]))

        def _say(self, told: dict[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            """Say nothing."""

    return Answers
