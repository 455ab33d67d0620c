"""Who sits before the screen, and what they may do."""

from __future__ import annotations

from enum import StrEnum

from curation.errors import WinnowError


class Role(StrEnum):
    """What a person may do in the studio."""

    EDITOR = "editor"
    VIEWER = "viewer"


def role() -> Role:
    """Of the person whose page is drawn; on a studio without a login everybody is an editor."""
    return Role.EDITOR


def may_edit() -> bool:
    """Whether buttons that change something should work."""
    return role() is Role.EDITOR


def require_editor() -> None:
    """Raise where a viewer asks for a change: the button is off as well, but a message can be forged.

    Raises:
        WinnowError: the person may only look.
    """
    if not may_edit():
        raise WinnowError("You may look at this corpus, but not change it.", fix="log in as an editor")
