"""The settings of the Live page; all are part of the page's address, so that a copied link restores them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.classes import audioset
from dashboard.live import sounds
from dashboard.server.live_stream import LiveSettings
from dashboard.widgets import pair_select, query_params
from dashboard.widgets.choice import choose_one
from dashboard.widgets.threshold import choose_threshold

_WINDOWS = {"1": "1 s", "3": "3 s", "5": "5 s", "10": "10 s"}
_SMOOTHING = {"0": "None", "0.5": "0.5 s", "1": "1 s", "3": "3 s"}
_DEFAULT = LiveSettings(("", ""))


@dataclass(frozen=True)
class Chosen:
    """The stream's settings, and the name of the classes that are shown."""

    stream: LiveSettings
    sounds: str


def choose() -> Chosen:
    """Draw the widgets and read them."""
    names = pair_select.choose_pair(others=False)
    query_params.follow("sounds", query_params.named(sounds.TITLES), sounds.ALL)
    shown = st.selectbox(
        "Sounds",
        list(sounds.TITLES),
        format_func=sounds.TITLES.__getitem__,
        key="sounds",
        persist_state="session",
        help="The tags that are shown and kept in the history. Domestic sounds are AudioSet's classes of home sounds, pets, telephones, "
        "clocks and alarms, and of what people do at home.",
    )
    query_params.keep("sounds", shown, sounds.ALL)
    chosen = _choose_classes() if shown == sounds.CHOSEN else ()
    query_params.keep_list("only", [str(index) for index in chosen])
    threshold = choose_threshold(
        "live_threshold",
        "From this probability on, a tag counts and an event begins; the event ends under 0.6 of it.",
    )
    window = choose_one(
        "Window",
        "window",
        _WINDOWS,
        f"{_DEFAULT.window_s:g}",
        help_text="The newest seconds that the networks run on. Short windows follow the sound sooner; networks are trained on 10 s, "
        "and recognise more in long ones.",
    )
    smoothing = choose_one(
        "Smoothing",
        "smoothing",
        _SMOOTHING,
        f"{_DEFAULT.smoothing_s:g}",
        help_text="Time constant of the bars. The history is not smoothed.",
    )
    st.caption("The page's address holds these settings: copy it to share them.")
    stream = LiveSettings(
        names, float(window), float(threshold), float(smoothing), sounds.allowed(shown, chosen)
    )
    return Chosen(stream, sounds.TITLES[shown])


def _choose_classes() -> tuple[int, ...]:
    names = {known.index: known.name for known in audioset()}
    listed = query_params.listed("only")
    known = [int(each) for each in listed if each.isdecimal() and int(each) in names]
    query_params.follow("only", lambda _: known, known)
    chosen = st.multiselect(
        "Classes",
        list(names),
        format_func=names.__getitem__,
        key="only",
        persist_state="session",
        placeholder="All classes",
    )
    return tuple(chosen)
