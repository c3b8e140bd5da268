"""Prune: move a slider and see and hear a network shrink."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.examples import EXAMPLES
from dashboard import formats
from dashboard.prune import curve, export, search, sections, settings, tags
from dashboard.prune.cut import Cut
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import clip_input, network_select, tables
from dashboard.widgets.download_buttons import comparison_downloads

_ABOUT = """
A convolution has many filters, and each makes one feature map. Pruning ranks them, removes the lowest for good, and with them
what the next layer would have heard of them: the network that is left is narrower, smaller and faster, and of the same kind.

The figures are counted from the widths. The tags are those of the pruned network itself, run here on your clip without any
training afterwards: what E-PANNs wins back by fine-tuning is not in them. Repair without labels wins part of it back in
seconds.

Recordings are decoded in this server's memory and not kept on disk.
"""


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Prune a network, and hear what it costs", anchor=False)
    row = st.grid(4, min_column_width=150, gap="small", vertical_alignment="bottom")
    main, beside = st.columns([7, 5], gap="medium", vertical_alignment="bottom")
    folded = st.expander("Layer by layer, and rounding", icon=":material/tune:", key="folded")
    with row:
        name = network_select.choose_network()
    try:
        before = get_server().config(name)
    except PannscopeError as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
        return
    chosen = settings.choose(before.widths, row, main, beside, folded)
    with row.popover(
        f"Clip: {clip_input.chosen_name()}", icon=":material/graphic_eq:", width="stretch", key="clip"
    ):
        ways_in, examples = st.container(), st.container()
        with ways_in:
            source = clip_input.choose_one(examples)
    try:
        get_server().clip(source)
    except PannscopeError as error:
        first = EXAMPLES[0]
        st.error(f"{formats.escaped(str(error))} Heard instead: {first.title}.", icon=":material/error:")
        source = Source.of_example(first.key, first.title)
    cut = Cut(source, name, before, chosen)
    _result(cut)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _result(cut: Cut) -> None:
    st.subheader(sections.answer(cut.before, cut.after, cut.settings), anchor=False)
    time_place = sections.figures(cut.before, cut.after)
    sections.paper(cut.before, cut.after)
    left, right = st.columns([5, 7], gap="large")
    with left:
        sections.architecture(cut.before, cut.after)
    with right:
        tags_place = tags.hearing(cut)
    left, right = st.columns(2, gap="large")
    with left:
        sections.costs(cut.before, cut.after, cut.settings)
    with right:
        curve_place = curve.frame()
    tabs = st.tabs(["Take home", "Sensitivity", "Find a plan", "All tags"])
    with tabs[0]:
        files_place = st.container()
    with tabs[1]:
        search.sensitivity(cut)
    with tabs[2]:
        search.search(cut)
        search.load(cut)
    # Counts and pictures are drawn: now what takes time, what is looked at first coming first.
    compared = tags.tags(cut, tags_place)
    if compared is None:
        curve_place.empty()
        return
    with tabs[3]:
        tables.all_tags(compared, (cut.title, sections.PRUNED))
        comparison_downloads([compared], "pannscope-pruned")
    tags.timing(cut, time_place)
    with curve_place.container():
        curve.draw(cut)
    with files_place:
        export.files(cut)


page()
