"""Buttons that hand out results as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from core.comparisons import Comparisons
from dashboard.widgets import tables


def download_button(
    label: str,
    data: bytes | Callable[[], str],
    file_name: str,
    *,
    key: str,
    mime: str | None = None,
    help_text: str | None = None,
) -> None:
    """A download that does not run the page again; text is only made once the button is pressed."""
    st.download_button(
        label,
        data,
        file_name=file_name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=key,
        help=help_text,
    )


def comparison_downloads(comparisons: Sequence[Comparisons], name: str) -> None:
    """JSON and CSV of one clip, or of several, at least one."""
    single = len(comparisons) == 1
    with st.container(horizontal=True, gap="small"):
        download_button(
            "JSON",
            lambda: tables.json_text(comparisons),
            f"{name}.json" if single else f"{name}.jsonl",
            key=f"json_{name}",
            mime="application/json" if single else "application/x-ndjson",
            help_text="The document that `pannscope compare --json` prints, with every tag.",
        )
        download_button(
            "CSV",
            lambda: tables.csv_text(comparisons),
            f"{name}.csv",
            key=f"csv_{name}",
            mime="text/csv",
            help_text="One line a tag, for a spreadsheet.",
        )
