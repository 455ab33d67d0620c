"""People of an organisation come in by their account: the whole way, in a browser, with a provider on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.corpus import Corpus
from tests.curation.samples import corpus_of, pair
from tests.studio.browser import free_port, installed_browser, launched, studio

pytest.importorskip("authlib", reason="needs the extra auth")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]


def test_people_come_in_by_their_account_as_editors_or_viewers_and_others_do_not(tmp_path: Path) -> None:
    from tests.studio.provider import CLIENT, provider

    corpus: Corpus = corpus_of(tmp_path / "corpus", [pair(f"question {n}", f"answer {n}") for n in range(3)])
    port = free_port()
    with provider() as known:
        secrets = tmp_path / "secrets.toml"
        secrets.write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "{"s" * 40}"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "unused"\n'
            f'server_metadata_url = "{known.address}/.well-known/openid-configuration"\n'
        )
        environment = {
            "STREAMLIT_SECRETS_FILES": str(secrets),
            "WINNOW_EDITORS": "ana@example.org",
            "WINNOW_VIEWERS": "ben@example.org",
        }
        running = studio(corpus.path, tmp_path / "log.txt", "--workspace", "/", port=port, **environment)
        with running as address, launched() as browser:
            for email, told in (
                ("ana@example.org", "ana@example.org, editor"),
                ("ben@example.org", "ben@example.org, viewer"),
                ("eve@example.net", None),
            ):
                known.person = {"email": email, "email_verified": True}
                page = browser.new_context(locale="en-US").new_page()
                page.goto(f"{address}/browse")
                assert page.get_by_test_id("stApp").count() == 0
                visits = known.visits
                page.locator("a.provider").click()
                if told is None:
                    page.locator("a.provider").wait_for(timeout=60_000)
                    assert "question 0" not in page.content()
                else:
                    page.get_by_text(told).wait_for(timeout=60_000)
                    page.get_by_role("link", name="Log out").click()
                    page.locator("a.provider").wait_for(timeout=60_000)
                    page.goto(f"{address}/browse")
                    assert page.get_by_test_id("stApp").count() == 0
                assert known.visits == visits + 1
                page.context.close()
