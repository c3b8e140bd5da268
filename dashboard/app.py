"""The entry point of the pages: ``streamlit run dashboard/app.py``. Navigation and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # streamlit puts only this file's folder on the path
    sys.path.insert(0, str(ROOT))

from core.runtime import process  # noqa: E402 (after the path is set)
from dashboard.widgets import theme  # noqa: E402

process.set_passive_wait_policy()  # before any page imports torch
process.use_single_heap_arena()

ASSETS = Path(__file__).resolve().parent / "assets"

st.set_page_config(page_title="Pannscope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
st.logo(str(ASSETS / f"logo-{st.context.theme.type or 'light'}.svg"), size="large")

PAGES = [
    st.Page("compare/page.py", title="Compare", default=True),
    st.Page("prune/page.py", title="Prune", url_path="prune"),
    st.Page("filters/page.py", title="Filters", url_path="filters"),
]

st.navigation(PAGES, position="top").run()
theme.watch()
