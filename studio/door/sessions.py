"""Logging in: passwords from the environment, or a provider's word (OIDC), and the cookie that stands for either.

    WINNOW_PASSWORD          whoever knows it may change the corpus
    WINNOW_VIEWER_PASSWORD   whoever knows it may look
    WINNOW_EDITORS           with OIDC: addresses that may change the corpus; everybody else may look
    WINNOW_VIEWERS           with OIDC: addresses, or @domains, that may look; everybody else stays outside

What signs the cookies is kept in the corpus' folder, readable by its owner only: a session lives on when the studio is
started again, and ends when a password is changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.door.access import Person, Role

PASSWORD, VIEWER_PASSWORD = "WINNOW_PASSWORD", "WINNOW_VIEWER_PASSWORD"
EDITORS, VIEWERS = "WINNOW_EDITORS", "WINNOW_VIEWERS"
SECRETS = (PASSWORD, VIEWER_PASSWORD)
"""What no job and no child process needs to know."""

FILE = "sessions.json"
LASTS_SECONDS = 7 * 24 * 3600
"""How long one stays logged in."""

MOST_FAILURES = 5
"""Wrong passwords from one address, one after the other, before it has to wait."""
WAIT_SECONDS = 60.0
REMEMBERED_ADDRESSES = 10_000


@dataclass(frozen=True)
class Rules:
    """Who may come in."""

    password: str | None = None
    viewer_password: str | None = None
    provider: bool = False
    """Whether Streamlit's `[auth]` secrets name one who vouches for people."""
    editors: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()
    """Empty: whoever the provider lets in."""

    @classmethod
    def of_environment(cls) -> Rules:
        """As the studio was started."""
        from studio.door import oidc

        return cls(
            os.environ.get(PASSWORD) or None, os.environ.get(VIEWER_PASSWORD) or None, oidc.is_configured(),
            _addresses(EDITORS), _addresses(VIEWERS),
        )  # fmt: skip

    def role_of(self, address: str) -> Role | None:
        """What the owner of a mail address may do; null: not even look."""
        address = address.strip().lower()
        domain = "@" + address.rpartition("@")[2]
        if {address, domain} & self.editors:
            return Role.EDITOR
        return Role.VIEWER if not self.viewers or {address, domain} & self.viewers else None


def _addresses(variable: str) -> frozenset[str]:
    return frozenset(a.strip().lower() for a in os.environ.get(variable, "").split(",") if a.strip())


@dataclass
class Attempts:
    """Wrong passwords by the address they came from."""

    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Address -> how many, seconds of the last one on the clock that never goes back."""

    def wait_seconds(self, address: str) -> float:
        """How long this address must wait before it may try again; 0 for not at all."""
        count, last = self.failures.get(address, (0, 0.0))
        return max(0.0, last + WAIT_SECONDS - time.monotonic()) if count >= MOST_FAILURES else 0.0

    def failed(self, address: str) -> None:
        """Count a wrong password."""
        count, last = self.failures.pop(address, (0, 0.0))
        stale = time.monotonic() - last > 10 * WAIT_SECONDS
        self.failures[address] = (1 if stale else count + 1, time.monotonic())
        while len(self.failures) > REMEMBERED_ADDRESSES:
            del self.failures[next(iter(self.failures))]

    def succeeded(self, address: str) -> None:
        """Forget what was wrong before."""
        self.failures.pop(address, None)


class Sessions:
    """The logins of one studio."""

    def __init__(self, rules: Rules, folder: Path | None = None) -> None:
        """Let in whom the rules let in; what signs the cookies lies in the folder, or is forgotten at the end."""
        self.rules = rules
        self.attempts = Attempts()
        self._folder = folder if folder is not None and folder.is_dir() else None
        self._lock = threading.Lock()
        stored = self._stored()
        self._secret: str = stored["secret"]
        self._ended: dict[str, float] = stored["ended"]
        words = (self._secret, rules.password or "", rules.viewer_password or "")
        self._key = hashlib.sha256("\x1f".join(words).encode()).digest()
        # Cookies know no ports: two studios of one machine need names of their own.
        self.cookie = "winnow_" + hashlib.sha256(self._secret.encode()).hexdigest()[:10]

    @property
    def needed(self) -> bool:
        """Whether anybody has to log in."""
        return bool(self.rules.password or self.rules.viewer_password or self.rules.provider)

    def role_for(self, password: str) -> Role | None:
        """What one who knows this password may do; takes equally long whatever is wrong with it."""
        editor, viewer = (_same(password, known) for known in (self.rules.password, self.rules.viewer_password))
        return Role.EDITOR if editor else Role.VIEWER if viewer else None

    def begin(self, role: Role) -> str:
        """The cookie of a new session."""
        return self.signed({"role": role.value, "session": secrets.token_urlsafe(12)})

    def person(self, cookies: Mapping[str, str]) -> Person | None:
        """Who sends these cookies; null: nobody who is logged in."""
        given = cookies.get(self.cookie)
        told = self.told(given, LASTS_SECONDS) if given else None
        if told is not None and told.get("session") not in self._ended:
            with contextlib.suppress(KeyError, ValueError):
                return Person(Role(told["role"]), None, told["session"])
        if self.rules.provider:
            from studio.door import oidc

            person = oidc.person(cookies, self.rules.role_of)
            return person if person is not None and person.session not in self._ended else None
        return None

    def end(self, person: Person) -> None:
        """Log out: the cookie counts no more, wherever a copy of it lies."""
        with self._lock:
            self._ended = {s: at for s, at in self._ended.items() if at > time.time() - LASTS_SECONDS}
            self._ended[person.session] = time.time()
            self._store()

    def signed(self, told: dict[str, Any]) -> str:
        """A text that only this studio can have written."""
        from itsdangerous import URLSafeTimedSerializer

        made = URLSafeTimedSerializer(self._key, salt="winnow").dumps(told)
        return made if isinstance(made, str) else made.decode()

    def told(self, text: str, lasts_seconds: float) -> dict[str, Any] | None:
        """What `signed` was given; null: it was not written here, or too long ago."""
        from itsdangerous import BadData, URLSafeTimedSerializer

        try:
            told = URLSafeTimedSerializer(self._key, salt="winnow").loads(text, max_age=int(lasts_seconds))
        except BadData:
            return None
        return told if isinstance(told, dict) else None

    def _stored(self) -> dict[str, Any]:
        fresh = {"secret": secrets.token_urlsafe(32), "ended": {}}
        if self._folder is None:
            return fresh
        try:
            told = json.loads((self._folder / FILE).read_text())
            return {"secret": str(told["secret"]), "ended": dict(told["ended"])}
        except (OSError, ValueError, KeyError, TypeError):
            self._secret, self._ended = str(fresh["secret"]), {}
            self._store()
            return fresh

    def _store(self) -> None:
        if self._folder is None or not self.needed:
            return
        partial = self._folder / f".{FILE}.{os.getpid()}"
        with contextlib.suppress(OSError):  # then sessions end with the studio
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"secret": self._secret, "ended": self._ended}, file)
            partial.replace(self._folder / FILE)


def _same(given: str, known: str | None) -> bool:
    # Of equal length whatever was typed, so that no time tells how long the password is.
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, known or ""))
    return hmac.compare_digest(*digests) and bool(known)


def current() -> Sessions:
    """The logins of this process' studio, by the environment it was started with."""
    return _of(Rules.of_environment(), corpus_folder())


@lru_cache(maxsize=8)
def _of(rules: Rules, folder: Path) -> Sessions:
    return Sessions(rules, folder)


def corpus_folder() -> Path:
    """The corpus the studio was started on: WINNOW_CORPUS, `streamlit run app.py -- CORPUS`, or the folder `demo`."""
    given = sys.argv[1] if len(sys.argv) == 2 and not sys.argv[1].startswith("-") else None
    return Path(os.environ.get("WINNOW_CORPUS") or given or "demo").expanduser().resolve()
