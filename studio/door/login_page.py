"""The one page that everybody is shown: a form for the password, in the reader's language, that needs no other file."""

from __future__ import annotations

import base64
import math
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from studio.languages import LANGUAGES, catalogue, mark

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from studio.door.sessions import Rules

TITLE = mark("Log in to this studio")
FIELD = mark("Password")
BUTTON = mark("Log in")
WITH_PROVIDER = mark("Log in with your organisation's account")
WRONG = mark("That password is not right.")
WAIT = mark("Too many wrong passwords. Try again in {seconds} seconds.")
UNREADY = mark("The login provider of this studio is not set up completely: ask the person who runs it.")

STYLE = """
:root { color-scheme: light dark; --text: #18181B; --back: #FFFFFF; --panel: #FAFAFC; --line: #8A8A98;
  --accent: #4F46E5; --bad: #B3261E; --edge: #E3E3EA; --link: #4338CA }
@media (prefers-color-scheme: dark) { :root { --text: #ECECF1; --back: #101116; --panel: #191A21; --line: #7B7D8E;
  --accent: #635BEF; --bad: #FF8A80; --edge: #2C2D38; --link: #A5B4FC } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--back); color: var(--text);
  font: 14px/1.5 Inter, system-ui, 'Noto Sans SC', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif }
main { width: min(380px, calc(100vw - 32px)); padding: 32px; background: var(--panel); border: 1px solid var(--edge);
  border-radius: 8px }
img { height: 32px; display: block; margin-bottom: 24px }
h1 { font-size: 20px; font-weight: 600; margin: 0 0 20px }
label { display: block; margin-bottom: 6px }
input { width: 100%; font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line);
  border-radius: 8px; padding: 9px 12px }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
button, .provider { display: block; width: 100%; margin-top: 16px; font: inherit; font-weight: 600; text-align: center;
  color: #FFFFFF; background: #4F46E5; border: 0; border-radius: 8px; padding: 10px 12px; cursor: pointer;
  text-decoration: none }
p { margin: 12px 0 0; color: var(--bad) }
nav { margin-top: 24px; display: flex; gap: 16px }
nav a { color: var(--link) }
"""


@lru_cache(maxsize=1)
def _logo() -> str:
    image = (Path(__file__).parents[1] / "static" / "icon.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(image).decode()


def drawn(
    request: Request,
    rules: Rules,
    wanted: str,
    *,
    wrong: bool = False,
    wait_seconds: float = 0.0,
    provider: str | None = None,
    status: int = 200,
) -> Response:
    """The page.

    Args:
        request: whose language it speaks.
        rules: what one can log in with.
        wanted: where to go afterwards.
        wrong: whether a wrong password was given just now.
        wait_seconds: until one may try again.
        provider: where the provider's login begins.
        status: of the answer.
    """
    from starlette.responses import HTMLResponse

    code = _language(request)
    known = catalogue(code)

    def said(text: str) -> str:
        return escape(known.get(text, text))

    parts = [f'<img src="{_logo()}" alt="Winnow">', f"<h1>{said(TITLE)}</h1>"]
    if rules.provider:
        parts.append(
            f'<a class="provider" href="{escape(provider)}">{said(WITH_PROVIDER)}</a>'
            if provider
            else f'<p role="alert">{said(UNREADY)}</p>'
        )
    if rules.password or rules.viewer_password:
        action = escape(f"/login?{urlencode({'next': wanted, 'language': code})}")
        parts.append(
            f'<form method="post" action="{action}"><label for="password">{said(FIELD)}</label>'
            '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>'
            f'<button type="submit">{said(BUTTON)}</button></form>'
        )
    if wait_seconds:
        told = known.get(WAIT, WAIT).format(seconds=math.ceil(wait_seconds))
        parts.append(f'<p role="alert">{escape(told)}</p>')
    elif wrong:
        parts.append(f'<p role="alert">{said(WRONG)}</p>')
    links = "".join(
        f'<a lang="{other}" href="{escape("/login?" + urlencode({"next": wanted, "language": other}))}">{name}</a>'
        for other, name in LANGUAGES.items()
        if other != code
    )
    page = (
        f'<!doctype html><html lang="{code}"><head><meta charset="utf-8"><title>Winnow</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}<nav>{links}</nav></main></body></html>"
    )
    headers = {"cache-control": "no-store"}
    if wait_seconds:
        headers["retry-after"] = str(math.ceil(wait_seconds))
    return HTMLResponse(page, status, headers=headers)


def _language(request: Request) -> str:
    asked = request.query_params.get("language")
    if asked in LANGUAGES:
        return str(asked)
    for part in request.headers.get("accept-language", "").split(","):
        code = part.strip()[:2].lower()
        if code in LANGUAGES:
            return code
    return "en"
