"""Compare: one recording, two networks, and what pruning changed. The front page."""

from __future__ import annotations

import streamlit as st

from core.compare import Comparison
from core.errors import PannscopeError
from dashboard import formats
from dashboard.compare import batch, published_networks, sections
from dashboard.compare import settings as knobs
from dashboard.server.clips import OpenedClip
from dashboard.server.models import usable_models
from dashboard.server.source import Source
from dashboard.widgets import clip_input, tables
from dashboard.widgets.download_buttons import comparison_downloads

_ABOUT = """
Both networks listen to the same waveform: mixed to mono, resampled to 32 kHz, and turned into a log-mel spectrogram of
64 bands, a hundred frames a second. Twelve convolutions and two linear layers turn that into one probability for each
sound that the network knows. Several can be high at once, since a clip can hold many sounds, so they do not add up to 1.

The pruned network is the baseline without the filters that matter least in its later layers (C7 to C12), trained a
little further afterwards. A filter's importance is the operator norm of its weights: how much it can change what passes
through. Half of these filters gone is what the E-PANNs paper proposes.

Recordings are decoded in this server's memory, up to 50 MB and 10 minutes each. They are not kept on disk, and are
let go of as others come.

Parameters and MACs are counted here, the time is measured on this machine, and nothing on this page is taken from a
publication.
"""


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Hear what pruning changes", anchor=False)
    line = st.container()
    ways_in = st.container()
    row = st.container(horizontal=True, wrap=False, vertical_alignment="bottom", gap="small")
    with ways_in:
        sources = clip_input.choose(row.container())
    with row.popover("Settings", icon=":material/tune:"):
        chosen = knobs.choose(usable_models())
    with line:
        published_networks.networks(chosen)
    outcomes = batch.work(sources, chosen)
    outcome = batch.table(outcomes, chosen) if len(outcomes) > 1 else outcomes[0]
    if outcome.opened is None or outcome.comparison is None:
        _failed(outcome)
    else:
        done = [each.comparison for each in outcomes if each.comparison is not None]
        _result(outcome.source, outcome.opened, outcome.comparison, chosen, done)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _failed(outcome: batch.Outcome) -> None:
    if outcome.error:
        st.error(formats.escaped(outcome.error), icon=":material/error:")
    if outcome.opened is not None:
        sections.recording(outcome.source, outcome.opened)


def _result(
    source: Source,
    opened: OpenedClip,
    comparison: Comparison,
    chosen: knobs.Settings,
    every: list[Comparison],
) -> None:
    titles = batch.titles(chosen)
    st.subheader(tables.answer(comparison), anchor=False)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        sections.recording(source, opened)
        sections.notes(source, comparison)
    with right:
        sections.answer(comparison, titles, chosen)
    costs = st.container()
    measures, tags, files = st.tabs(["Agreement", "All tags", "Download"])
    with measures:
        sections.agreement(comparison, titles)
    with tags:
        tables.all_tags(comparison, titles, chosen.categories)
    with files:
        st.caption("This clip")
        comparison_downloads([comparison], "pannscope-clip")
        if len(every) > 1:
            st.caption(f"All {len(every)} clips")
            comparison_downloads(every, "pannscope-all")
    with costs:
        try:
            sections.figures(chosen, titles)
        except PannscopeError as error:
            st.error(formats.escaped(str(error)), icon=":material/error:")


page()
