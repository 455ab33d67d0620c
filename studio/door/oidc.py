"""People a provider vouches for: Streamlit's own login by OpenID Connect, read from the cookie that it sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache

from studio.door.access import Person, Role


@lru_cache(maxsize=1)
def is_configured() -> bool:
    """Whether Streamlit's secrets had an `[auth]` section when the studio was started."""
    from streamlit.auth_util import get_secrets_auth_section

    return bool(get_secrets_auth_section())


def login_address() -> str:
    """Where the provider's login begins, valid for a few minutes.

    Raises:
        StreamlitAuthError: the secrets or a library lack something.
    """
    from streamlit.auth_util import encode_provider_token, validate_auth_credentials

    validate_auth_credentials("default")
    return f"/auth/login?provider={encode_provider_token('default')}"


def person(cookies: Mapping[str, str], role_of: Callable[[str], Role | None]) -> Person | None:
    """Who the provider says sends these cookies; null: nobody, or nobody who may come in."""
    from streamlit.auth_util import get_cookie_with_chunks
    from streamlit.web.server.server_util import get_cookie_secret
    from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    secret = get_cookie_secret()

    def signed(name: str) -> bytes | None:
        given = cookies.get(name)
        return None if given is None or not secret else decode_signed_value(secret, name, given.encode("latin-1"))

    stored = get_cookie_with_chunks(signed, USER_COOKIE_NAME)
    try:
        told = json.loads(stored) if stored else {}
    except ValueError:
        return None
    address = str(told.get("email") or "")
    if not told.get("is_logged_in") or not address or told.get("email_verified") is False:
        return None
    role = role_of(address)
    session = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]
    return None if role is None else Person(role, address, session)
