"""How the studio is served: Streamlit's application with the gate before it and the routes for files beside it."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from curation.errors import WinnowError
from studio.door import sessions

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute

SCRIPT = Path(__file__).parents[1] / "web" / "script.py"
"""What Streamlit runs for every page."""

WITHOUT_LOGIN = "WINNOW_WITHOUT_LOGIN"
"""Set where the studio may be reached from other machines although nobody has to log in."""


def middleware() -> list[Middleware]:
    """What stands before Streamlit; without a login on an address that others reach, the end of this process."""
    from starlette.middleware import Middleware
    from streamlit import config

    from studio.door.gate import Gate

    rules = sessions.current().rules
    try:
        check_address(str(config.get_option("server.address") or "0.0.0.0"), rules)
    except WinnowError as error:
        print(f"error: {error.message}\n  fix: {error.fix}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        os._exit(2)  # the server would go on without its application
    return [Middleware(Gate, sessions=sessions.current)]


def routes() -> list[BaseRoute]:
    """Files that come in and go out without passing through the memory of a page."""
    from studio.door import transfers

    return transfers.routes()


def told(error: Exception) -> bool:
    """Draw an error that a page, or a button of it, ended with."""
    from studio import mishaps

    return mishaps.show(error)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    if address == "localhost" or address.startswith("unix://"):
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def check_address(address: str, rules: sessions.Rules) -> None:
    """Refuse to serve everybody on a network who asks.

    Raises:
        WinnowError: other machines reach the address, and nobody would have to log in.
    """
    if is_open(address, rules) and not os.environ.get(WITHOUT_LOGIN):
        raise WinnowError(
            f"Without a login anybody who reaches {address} could read and change this corpus.",
            fix=f"set {sessions.PASSWORD} in the environment, or serve it on 127.0.0.1",
        )


def is_open(address: str, rules: sessions.Rules) -> bool:
    """Whether other machines reach the studio and nobody has to log in."""
    login = rules.password or rules.viewer_password or rules.provider
    return not is_loopback(address) and not login


def warning() -> str | None:
    """What every page should say of a studio that everybody may change; null where all is well."""
    from streamlit import config

    from studio.languages import t

    address = str(config.get_option("server.address") or "0.0.0.0")
    if not is_open(address, sessions.current().rules) or not os.environ.get(WITHOUT_LOGIN):
        return None
    return t("Anybody who reaches {address} can read and change this corpus: nobody has to log in.", address=address)
