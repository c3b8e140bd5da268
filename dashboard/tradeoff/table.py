"""The table beside the picture: sortable, with the source of every figure, and as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.tradeoff import System, rows
from core.units import guarded
from dashboard import formats
from dashboard.widgets.download_buttons import download_button

_NUMBER = st.column_config.NumberColumn
_STATES = {
    "embedded": "installed",
    "installed": "installed",
    "available": "can be installed",
    "published-only": "published only",
    "own": "your own",
}


def table(listed: Sequence[System], own: Sequence[System], cost: str) -> None:
    """Every system with its figures; own networks follow the published ones."""
    documents = [*rows(listed), *rows(own)]
    st.dataframe(
        frame(documents, cost),
        hide_index=True,
        height=460,
        column_config={
            "Network": st.column_config.TextColumn(width="medium", pinned=True),
            "mAP": _NUMBER(
                format="%.3f",
                width="small",
                help="On AudioSet, as published; of your own, on your own clips.",
            ),
            "Time (ms)": _NUMBER(format="%.1f", width="small", help="For 10 s of audio on this machine."),
            "MACs (G)": _NUMBER(format="%.2f", width="small", help="For 10 s of audio."),
            "Params (M)": _NUMBER(format="%.2f", width="small"),
            "Front": st.column_config.CheckboxColumn(
                width="small", help="Nothing is both cheaper, on the axis chosen above, and better."
            ),
        },
        placeholder=formats.DASH,
        alt="Every system of the picture with its figures and their sources",
    )
    download_button(
        "CSV",
        lambda: csv_text(documents),
        "pannscope-trade-off.csv",
        key="tradeoff_csv",
        mime="text/csv",
        help_text="One line a system, each figure followed by its source.",
    )


def frame(documents: Sequence[dict[str, Any]], cost: str) -> pd.DataFrame:
    """The table's columns, in their units; what is not known is empty."""

    def scaled(key: str, unit: float) -> list[float | None]:
        return [None if row[key] is None else row[key] / unit for row in documents]

    return pd.DataFrame(
        {
            "Network": [row["title"] for row in documents],
            "Family": [row["family"] for row in documents],
            "mAP": [row["mAP"] for row in documents],
            "Time (ms)": scaled("time_ms", 1),
            "MACs (G)": scaled("macs_10s", 1e9),
            "Params (M)": scaled("params", 1e6),
            "Front": [row[f"front_{cost}"] for row in documents],
            "State": [_STATES[row["status"]] for row in documents],
            "Source of the mAP": [row["mAP_source"] for row in documents],
            "Source of the time": [row["time_ms_source"] or "" for row in documents],
            "Source of the MACs": [row["macs_10s_source"] or "" for row in documents],
            "Source of the parameters": [row["params_source"] or "" for row in documents],
        }
    )


def csv_text(documents: Sequence[dict[str, Any]]) -> str:
    """The same for a spreadsheet, in milliseconds, operations and parameters."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(documents[0]), lineterminator="\r\n")
    writer.writeheader()
    for row in documents:
        writer.writerow(
            {key: guarded(value) if isinstance(value, str) else value for key, value in row.items()}
        )
    return out.getvalue()
