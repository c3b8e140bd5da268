"""Systems that are known from their papers only, as a table: there is nothing to install."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.checkpoints import Entry
from core.checkpoints.entries import COUNTED
from dashboard import formats
from dashboard.models.card import paper_address


def papers(entries: Sequence[Entry]) -> None:
    """What each system is, its figures and who states them."""
    st.header("Known from their papers", anchor=False)
    st.caption(
        "No file of these can be installed here: the weights were never published, or Pannscope does not build the network. They have their place "
        "on the Trade-off page."
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(
            {
                "Network": [entry.title for entry in entries],
                "What it is": [entry.about for entry in entries],
                "mAP": [entry.published_mAP for entry in entries],
                "Params (M)": [None if entry.params is None else entry.params / 1e6 for entry in entries],
                "MACs (G)": [None if entry.macs_10s is None else entry.macs_10s / 1e9 for entry in entries],
                "Paper": [paper_address(entry.paper or "") for entry in entries],
                "Weights": [entry.licence for entry in entries],
                "Source of the mAP": [entry.mAP_source or "" for entry in entries],
                "Source of the counts": [entry.figures_source or COUNTED for entry in entries],
            }
        ),
        hide_index=True,
        height=38 + 35 * len(entries),
        column_config={
            "Network": st.column_config.TextColumn(width="medium", pinned=True),
            "What it is": st.column_config.TextColumn(width="large"),
            "mAP": number(format="%.3f", width="small"),
            "Params (M)": number(format="%.2f", width="small"),
            "MACs (G)": number(format="%.2f", width="small", help="For 10 s of audio."),
            "Paper": st.column_config.LinkColumn(width="small", display_text=r"https://arxiv\.org/abs/(.*)"),
        },
        placeholder=formats.DASH,
        alt="Systems that are known from their papers, with their figures and sources",
    )
