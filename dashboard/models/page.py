"""Models: every network that Pannscope knows, what it is and costs, installing it and removing it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import streamlit as st

from core import checkpoints, settings
from core.checkpoints import Entry
from dashboard.models.card import card
from dashboard.models.papers import papers
from dashboard.widgets import download
from dashboard.widgets.choice import choose_one

_SHOWN = {"use": "To install and use", "papers": "From papers only"}
_COLUMNS = 3

# Those without a line are described by their networks.
_FAMILIES = {
    "Demonstration": "Part of Pannscope, so that the pages are never empty: small networks with 18 and with 527 classes.",
    "PANNs": "Pretrained audio neural networks, trained on AudioSet's 527 classes. CNN14 is the one that E-PANNs was pruned from.",
    "E-PANNs": "CNN14 after filters of its last six convolutions were removed, fine-tuned.",
    "EfficientAT": "MobileNets that learned from a transformer's outputs: the yardstick for anything that is to be small.",
}

_ABOUT = """
A network that is installed can be chosen on every page. Its file comes from where its authors published it; its checksum is compared with the published one
before it is used, and of the few without a published checksum it is checked that they are exactly the network that they should be. Nothing of a file is executed.

Parameters and MACs are counted, MACs for 10 s of audio by the convention of the E-PANNs paper. mAP is the published one, on AudioSet's evaluation set;
the page *Trade-off* has all of them in one picture, with their sources.

On the command line: `pannscope models`, `pannscope fetch NAME` and `pannscope remove NAME`.
"""


def page() -> None:
    """Draw the choice, and a card for each network."""
    st.title("Choose and install a network", anchor=False)
    download.watch()
    shown = choose_one("Networks", "show", _SHOWN, "use", label_visibility="collapsed")
    if settings.fixed_models():
        st.caption("The networks of this server are fixed: visitors can neither install nor remove any.")
    listed = checkpoints.manifest().values()
    if shown == "papers":
        papers([entry for entry in listed if checkpoints.status(entry) == "published-only"])
    else:
        _gallery(entry for entry in listed if checkpoints.status(entry) != "published-only")
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _gallery(entries: Iterable[Entry]) -> None:
    for family, members in groupby(entries, key=lambda entry: entry.family):
        st.header(family, anchor=False)
        if family in _FAMILIES:
            st.caption(_FAMILIES[family])
        with st.grid(_COLUMNS, min_column_width=260, gap="small"):
            for entry in members:
                card(entry)


page()
