"""What the first visitor needs is loaded when the server starts."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from streamlit.web.server.app_discovery import discover_asgi_app

from core.examples import EXAMPLES
from core.tagging import EMBEDDED_PAIR
from dashboard import app
from dashboard.server import server as server_module
from dashboard.server import warm_up
from dashboard.server.server import Server
from dashboard.server.source import Source


def test_the_front_page_opens_with_what_is_there_already(
    embedded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    server = Server()
    monkeypatch.setattr(server_module, "_server", server)
    gc.unfreeze()
    assert warm_up.start().wait(120)
    assert gc.get_freeze_count() > 100_000  # what Streamlit does not look through after every run of a page
    assert server.has_tags(Source.of_example(EXAMPLES[0].key, EXAMPLES[0].title), EMBEDDED_PAIR)
    assert server.known_latencies(EMBEDDED_PAIR) is not None


def test_it_begins_with_the_server_whatever_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert app.__file__ is not None
    # What ``streamlit run`` looks for:
    assert discover_asgi_app(Path(app.__file__)).import_string == "app:app"
    began: list[bool] = []
    monkeypatch.setattr(warm_up, "start", lambda: began.append(True))

    async def run() -> None:
        async with app.lifespan(app.app):
            assert began == [True]

    asyncio.run(run())
