"""What went wrong and nobody foresaw, told calmly: one sentence, what to do, and the details folded away."""

from __future__ import annotations

import logging
import platform
import traceback

import streamlit as st

from curation.errors import WinnowError, of_disk
from studio.languages import mark, t
from studio.shown import show_error

logger = logging.getLogger(__name__)

USUAL = (
    mark("This page could not be drawn to the end: something went wrong that should not."),
    mark("Nothing of your data is lost. Try again; if it happens again, send the details below with a bug report."),
)
CLASH = (
    mark("Somebody else changed the same thing at the same moment."),
    mark("Try again: the page then shows what is stored now."),
)
MEMORY = (
    mark("This machine has too little memory for what was asked."),
    mark("Filter to fewer samples, or end other programs, and try again."),
)


def show(error: Exception) -> bool:
    """Draw an error in place of what could not be drawn; true: nobody else needs to say it.

    What a user can mend is told with its remedy. Anything else goes to the log with its traceback.
    """
    known = error if isinstance(error, WinnowError) else of_disk(error)
    if known is not None:
        show_error(known)
        return True
    logger.exception("A page failed", exc_info=error)
    what, remedy = _words(error)
    with st.container(border=True):
        st.subheader(t(what))
        st.markdown(t(remedy))
        st.button(t("Try again"), key=f"again-{type(error).__name__}", icon=":material/refresh:")
        with st.expander(t("Details for a bug report"), icon=":material/article:"):
            st.code(_details(error), language=None, wrap_lines=True, height=240)
    return True


def _words(error: Exception) -> tuple[str, str]:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":
        return MEMORY
    return CLASH if type(error).__name__ == "TransactionException" else USUAL


def _details(error: Exception) -> str:
    lines = "".join(traceback.format_exception(error)).rstrip()
    return f"Python {platform.python_version()}, Streamlit {st.__version__}, {platform.system()}\n\n{lines}"
