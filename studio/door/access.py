"""Who sits before the screen, and what they may do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from curation.errors import WinnowError
from studio.languages import mark, t

if TYPE_CHECKING:
    from studio.door.sessions import Sessions


class Role(StrEnum):
    """What a person may do in the studio."""

    EDITOR = "editor"
    VIEWER = "viewer"


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    role: Role
    name: str | None
    """Their address, where a provider vouches for it; with a password nobody has a name."""
    session: str
    """What tells this login from others."""


ONLY_LOOK = mark("You may look at this corpus, but not change it.")


def reader() -> Person | None:
    """Whose page is drawn; null on a studio without a login, outside of one, and after logging out."""
    if not in_page():
        return None
    import streamlit as st

    sessions = _sessions()
    return sessions.person(st.context.cookies) if sessions.needed else None


def in_page() -> bool:
    """Whether a page is being drawn or answers a click: not a command, a job or a test of functions."""
    if "streamlit" not in sys.modules:
        return False
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    return get_script_run_ctx(suppress_warning=True) is not None


def login_needed() -> bool:
    """Whether this studio has a login."""
    return _sessions().needed


def role() -> Role:
    """Of the person whose page is drawn; on a studio without a login, and in a terminal, everybody is an editor."""
    if not in_page() or not login_needed():
        return Role.EDITOR
    person = reader()
    return person.role if person is not None else Role.VIEWER


def who() -> str | None:
    """What to call the person in what they decide and label; null for the name of the user who runs the studio."""
    person = reader()
    return None if person is None else person.name


def may_edit() -> bool:
    """Whether buttons that change something should work."""
    return role() is Role.EDITOR


def refused() -> str | None:
    """Why the person may change nothing, in their language, for the button that is off; null where they may."""
    return None if may_edit() else t(ONLY_LOOK)


def require_editor() -> None:
    """Raise where a viewer asks for a change: the button is off as well, but a message can be forged.

    Raises:
        WinnowError: the person may only look.
    """
    if not may_edit():
        raise WinnowError(ONLY_LOOK, fix="log in as an editor")


def _sessions() -> Sessions:
    from studio.door.sessions import current

    return current()
