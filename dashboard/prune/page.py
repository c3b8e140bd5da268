"""Prune: move a slider, and see and hear what a smaller network costs."""

from __future__ import annotations

import streamlit as st

from core.comparisons import Comparisons
from core.errors import PannscopeError
from core.examples import EXAMPLES
from core.models.groups import check_prunable
from dashboard import formats
from dashboard.prune import (
    curve,
    export,
    healing,
    layers,
    pins,
    presets,
    recordings,
    search,
    sections,
    sensitivity,
    settings,
    tags,
    timing,
)
from dashboard.prune.cut import Cut
from dashboard.server.models import class_names
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import clip_input, network_select, opening, tables
from dashboard.widgets.download_buttons import comparison_downloads

_ABOUT = """
A convolution has many filters, and each produces one feature map. Pruning ranks them and removes the lowest-ranked ones,
together with the corresponding input channels of the next layer: the resulting network is of the same kind, but narrower,
smaller and faster.

Parameters, MACs and sizes are counted from the widths. The tags are those of the pruned network itself, run here on your clip
without any training after pruning: what E-PANNs regains by fine-tuning is not included. Without labels, repair regains part of it in
seconds, and healing more in minutes.

Recordings are decoded in this server's memory and not kept on disk.
"""

_WORDS = (
    "A network's layers are convolutions, from its input to its output; each has many filters, and "
    "pruning removes whole filters. MACs are multiply-accumulate operations: the arithmetic for a recording of 10 s."
)


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Prune a network, and hear what it costs", anchor=False)
    st.caption(_WORDS)
    first = st.container()
    row = st.grid(5, min_column_width=150, gap="small", vertical_alignment="bottom")
    with row:
        name = network_select.choose_network()
    try:
        before = get_server().structure(name)
        check_prunable(before.architecture)
    except PannscopeError as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
        return
    finding = st.container()
    main, beside = st.columns([7, 5], gap="medium")
    heal_row = st.container()
    folded = st.expander("Layer by layer, and rounding", icon=":material/tune:", key="folded")
    chosen = settings.choose(before, row, main, folded)
    with row.popover(
        f"Clip: {clip_input.chosen_name()}", icon=":material/graphic_eq:", width="stretch", key="clip"
    ):
        source = _readable(_choose_clip(name))
    own = recordings.readable(st.empty(), try_new=source.example is None)
    with beside:
        repair = settings.choose_repair(0 if source.example else len(own))
        minutes = healing.choose()
    with heal_row:
        heal = healing.settings(minutes, len(own))
        cut = Cut(source, name, before, chosen, repair, own, heal, healing.jobs())
        healing.panel(cut)
    with first:
        presets.presets(cut)
    with finding:
        order_slot = layers.order_frame(cut)
    _result(cut)
    if order_slot is not None:
        layers.order_finding(cut, order_slot)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _choose_clip(name: str) -> Source:
    inputs, examples = st.container(), st.container()
    with inputs:
        return clip_input.choose_one(examples, class_names(name))


def _readable(source: Source) -> Source:
    """The source, or the first example where it cannot be read."""
    try:
        opening.opened(source, st.empty())
    except PannscopeError as error:
        first = EXAMPLES[0]
        st.error(f"{formats.escaped(str(error))} Using {first.title} instead.", icon=":material/error:")
        return Source.of_example(first.key, first.title)
    return source


def _result(cut: Cut) -> None:
    st.header(sections.headline(cut), anchor=False)
    time_card = sections.metric_cards(cut)
    sections.paper(cut)
    pinned = pins.frame(cut)
    # The answer comes first in the columns' order, which is the order of a phone.
    left, right = st.columns([7, 5], gap="large")
    with left:
        tags_frame = tags.frame(cut)
    with right:
        sections.architecture(cut)
        layers.links(cut)
    all_recordings = recordings.frame(cut)
    left, right = st.columns(2, gap="large")
    with left:
        sections.cost_curves(cut)
    with right:
        curve_frame = curve.frame()
    export_tab, sensitivity_tab, search_tab, tags_tab = st.tabs(
        ["Export", "Sensitivity", "Find a plan", "All tags"]
    )
    with export_tab:
        export_frame = st.container()
    with sensitivity_tab:
        sensitivity.sensitivity(cut)
    with search_tab:
        search.search(cut)
        search.load(cut)
    # Counts and charts are drawn. Next comes what takes time, what is at the top of the page first.
    compared = tags.tags(cut, tags_frame)
    if compared is None:
        curve_frame.clear()
        return
    with tags_tab:
        tables.all_tags(Comparisons.of(compared), (cut.title, tags.PRUNED))
        comparison_downloads([Comparisons.of(compared)], "pannscope-pruned")
    timing.time_card(cut, time_card)
    with curve_frame.fill():
        curve.agreement_curve(cut)
    with export_frame:
        export.export(cut)
    if pinned is not None:
        pins.side_by_side(cut, compared, *pinned)
    if all_recordings is not None:
        recordings.verdicts(cut, all_recordings)


page()
