"""Compare: one recording, two to four networks, and what pruning changed. The front page."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core import verdict
from core.audio import MAX_SECONDS
from core.comparisons import Comparisons
from core.errors import PannscopeError
from core.windows import Interface
from dashboard import formats
from dashboard.compare import batch, energy, long, published_networks, sections, several, tags
from dashboard.compare.over_time import OverTime
from dashboard.compare.settings import Settings, choose
from dashboard.server import own_networks, upload_limit
from dashboard.server.clips import OpenedClip
from dashboard.server.models import class_names
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import clip_input, clip_notes, tables
from dashboard.widgets.download_buttons import comparison_downloads
from dashboard.widgets.energy import ICON, TITLE

_ABOUT = """
Both networks run on the same waveform: mixed to mono, and resampled to 32 kHz or to the network's own rate. Most networks turn it into a
log-mel spectrogram (CNN14: 64 bands, a hundred frames a second), some filter the waveform itself. Convolutional and linear layers turn
that into a probability for each class of sound. Several can be high at once, since a clip can hold many sounds, so they do not add up to 1;
those of a network that recognises scenes do.

A pruned network is its baseline without the least important filters of some layers, fine-tuned afterwards. E-PANNs is CNN14 without half
of the filters of C7 to C12, the last six of its twelve convolutions. There a filter's importance is the operator norm of its weights: how
much it can amplify its input.

Recordings are decoded in this server's memory, by a process of their own that can open no file. {limit} They are not
written to disk. They are kept for an hour after their last use, for the browser that sent them alone (a cookie names it), and for less where others need the memory.

Parameters and MACs are counted here, the time is measured on this machine, and nothing on this page is taken from a
publication.
"""


def page() -> None:
    """Draw the widgets, run the networks, draw the result."""
    st.title("Hear what pruning changes", anchor=False)
    inputs = st.container()
    row = st.container(horizontal=True, wrap=False, vertical_alignment="bottom", gap="small")
    examples = row.container()
    with row.popover("Settings", icon=":material/tune:"):
        settings = choose()
    with inputs:
        sources = clip_input.choose(examples)
    clip_input.unknown_examples(_classes(settings))
    published_networks.networks(settings)
    outcomes, compared = batch.compare_all(sources, settings)
    outcome = batch.table(outcomes, compared) if len(outcomes) > 1 else outcomes[0]
    if outcome.long is not None:
        pair = _pair_of(settings)
        clip_notes.notes(outcome.source, outcome.long, _entries(pair), _classes(pair))
        long.in_progress(outcome.source, outcome.long, _two(pair), pair)
    elif outcome.opened is None or outcome.comparisons is None:
        _failed(outcome)
    else:
        every = [outcome.comparisons for outcome in outcomes if outcome.comparisons is not None]
        done = [each for each in every if each.clip.duration_s <= MAX_SECONDS]
        _result(outcome.source, outcome.opened, outcome.comparisons, compared, done)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT.format(limit=upload_limit.text()))


def _classes(settings: Settings) -> frozenset[str]:
    """The classes that at least one of the networks has."""
    return frozenset().union(*map(class_names, settings.networks))


def _entries(settings: Settings) -> list[Interface]:
    return [get_server().entry(name) for name in settings.networks]


def _two(settings: Settings) -> tuple[str, str]:
    first, second = own_networks.titles(settings.networks)[:2]
    return first, second


def _pair_of(settings: Settings) -> Settings:
    """Of a long recording the first two networks are compared alone, which is said where there are others."""
    if settings.also:
        st.caption("Of a recording of more than ten minutes the first two networks are compared.")
    return replace(settings, also=())


def _failed(outcome: batch.Outcome) -> None:
    if outcome.error:
        st.error(formats.escaped(outcome.error), icon=":material/error:")
    if outcome.opened is not None:
        sections.recording(outcome.source, outcome.opened)


def _result(
    source: Source,
    opened: OpenedClip,
    result: Comparisons,
    settings: Settings,
    every_clip: list[Comparisons],
) -> None:
    is_long = opened.clip.duration_s > MAX_SECONDS
    if is_long:
        settings = _pair_of(settings)
    titles, two, pair = own_networks.titles(settings.networks), _two(settings), result.first
    clip_notes.notes(source, opened.clip, _entries(settings), _classes(settings), result)
    st.header(verdict.headline(pair, *two, formats.escaped), anchor=False)
    if settings.also:
        several.answer(result, titles, settings)
    # The answer comes first in the columns' order, which is the order of a phone.
    left, right = st.columns([7, 5], gap="medium")
    with left:
        if settings.also:
            several.every_two(result, titles)
        else:
            tags.answer(pair, two, settings)
        tags.search(result, titles, settings)
    with right:
        sections.recording(source, opened)
    over_time = OverTime(source, opened.clip, opened.picture, lambda _: pair, two, settings, at_once=is_long)
    over_time.draw()
    time_place = sections.costs(settings, titles)
    energy_place = st.expander(TITLE, icon=ICON)
    measures, all_tags, files = st.tabs(["Agreement", "All tags", "Download"])
    with measures:
        sections.agreements(result, titles)
    with all_tags:
        tables.all_tags(result, titles, settings.categories, in_groups=settings.grouped)
    with files:
        if is_long:
            st.caption("The events of this recording are under *Over time*, as files for other programs.")
        else:
            st.caption("This clip")
            comparison_downloads([result], "pannscope-clip")
        if len(every_clip) > 1:
            st.caption(f"All {len(every_clip)} clips")
            comparison_downloads(every_clip, "pannscope-all")
    try:
        sections.time_here(time_place, settings, titles)
        with energy_place:
            energy.section(get_server().latencies(settings.networks), titles)
    except PannscopeError as error:
        time_place.error(formats.escaped(str(error)), icon=":material/error:")


page()
