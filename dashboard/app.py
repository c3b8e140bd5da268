"""The entry point of the pages, ``streamlit run dashboard/app.py`` or ``pannscope serve``. Navigation and nothing else.

Streamlit imports this file once, to start the server with ``app``, and runs it as a script for every visit.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # streamlit puts only this file's folder on the path
    sys.path.insert(0, str(ROOT))

from core import settings  # noqa: E402 (after the path is set)
from core.errors import SettingsError  # noqa: E402
from core.runtime import process  # noqa: E402
from dashboard import formats  # noqa: E402
from dashboard.server import nodelay, upload_limit, warm_up  # noqa: E402
from dashboard.server.http import FrontDoor  # noqa: E402
from dashboard.server.live_route import LiveRoute  # noqa: E402
from dashboard.server.shutdown import Shutdown  # noqa: E402
from dashboard.server.upload_guard import UploadGuard  # noqa: E402
from dashboard.widgets import query_params, theme, visit  # noqa: E402

process.set_passive_wait_policy()  # before any page imports torch
process.configure_heap()
upload_limit.choose()

ASSETS = Path(__file__).resolve().parent / "assets"


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Load what the first visitor needs as soon as the server runs; end with it on a signal."""
    nodelay.send_at_once()
    shutdown = Shutdown()
    warm_up.start()
    yield
    await shutdown.server_closed()


def navigate() -> None:
    """Run the page that the visitor's address names."""
    st.set_page_config(page_title="Pannscope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / f"logo-{st.context.theme.type or 'light'}.svg"), size="large")
    try:
        settings.check()
    except SettingsError as error:
        st.error(formats.without_folders(str(error)))
        st.stop()
    pages = {
        "Compare two networks": st.Page("compare/page.py", title="Compare", default=True),
        "Recognise sounds live": st.Page("live/page.py", title="Live", url_path="live"),
        "Prune a network": st.Page("prune/page.py", title="Prune", url_path="prune"),
        "Look at the filters": st.Page("filters/page.py", title="Filters", url_path="filters"),
        "Weigh quality against cost": st.Page("tradeoff/page.py", title="Trade-off", url_path="trade-off"),
        "Look through a corpus": st.Page("corpus/page.py", title="Corpus", url_path="corpus"),
        "Choose and install a network": st.Page("models/page.py", title="Models", url_path="models"),
    }
    current = st.navigation(list(pages.values()), position="top")
    visit.open_page(current.url_path)
    current.run()
    with st.container(horizontal=True, gap="medium"):  # a phone folds the bar at the top away
        for label, page in pages.items():
            if page != current:
                st.page_link(page, label=label, icon=":material/arrow_forward:")
    theme.watch()
    query_params.mend_history()


if __name__ == "__main__":
    navigate()
else:
    app = st.App(
        __file__,
        lifespan=lifespan,
        middleware=[Middleware(each) for each in (FrontDoor, UploadGuard, LiveRoute)],
    )
