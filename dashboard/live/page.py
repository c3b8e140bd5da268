"""Live: the microphone, both networks several times a second, and the history of what they recognised."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.events import FORMATS
from dashboard import formats
from dashboard.live.component import live_component
from dashboard.live.settings import Chosen, choose
from dashboard.server.http import COOKIE
from dashboard.server.live_stream import HOP_S, MOST_EVENTS, RING_S, LiveStream
from dashboard.server.own_networks import title
from dashboard.server.server import get_server
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.theme import palette

_TOKEN = "live_token"

_ABOUT = """
The browser takes the microphone at 32 kHz, with its echo cancellation, noise suppression and gain control off, since they change what is not speech, and sends
the sound to this server in pieces of a quarter of a second. The server keeps the last {ring:g} s of it in memory, and nothing of it on a disk. Both
networks run on the newest window up to four times a second; where the processor is too slow for that, windows are left out, and the rate that is shown is the real one.

*Delay* is the time from a sound at the microphone to the first drawing of tags that include it: on average, since a sound waits for the end of its piece. A network
needs a part of its window, too, before it is sure. The hardware's own delay before the browser has the sound is not in it.

The bars are smoothed. The history is not: an event begins at the threshold and ends under 0.6 of it, and two events of a tag that are a second apart are one.
Its times count from the start, pauses included. It holds {most} events; the oldest are forgotten first.

The level of a microphone matters little to the networks, its distance from the sound and other sounds do.
"""


def page() -> None:
    """Draw the settings, the component and the files."""
    st.title("Recognise sounds live", anchor=False)
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with row.popover("Settings", icon=":material/tune:"):
        chosen = choose()
    row.caption(
        f"Sound goes to this server alone, stays in its memory for {RING_S:g} s, and is not recorded."
    )
    token, stream = _stream(chosen)
    live_component(_data(token, chosen))
    _downloads(stream)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT.format(ring=RING_S, most=formats.whole(MOST_EVENTS)))


def _stream(chosen: Chosen) -> tuple[str, LiveStream]:
    """This session's stream, with the settings; a new one where there is none, any more."""
    live = get_server().live
    token = st.session_state.get(_TOKEN, "")
    stream = live.find(token)
    if stream is None:
        token = st.session_state[_TOKEN] = live.open(st.context.cookies.get(COOKIE), chosen.stream)
        return _stream(chosen)
    stream.configure(chosen.stream)
    return token, stream


def _data(token: str, chosen: Chosen) -> dict[str, object]:
    colors = palette()
    return {
        "token": token,
        "titles": [title(name) for name in chosen.stream.names],
        "threshold": chosen.stream.threshold,
        "thresholdText": formats.probability(chosen.stream.threshold),
        "sounds": chosen.sounds,
        "windowS": chosen.stream.window_s,
        "hopS": HOP_S,
        "colors": {
            "baseline": colors.baseline,
            "pruned": colors.pruned,
            "ink": colors.ink,
            "quiet": colors.quiet,
            "hairline": colors.hairline,
            "band": colors.band,
            "page": colors.ramp[0],
            "ramp": list(colors.ramp),
        },
    }


def _downloads(stream: LiveStream) -> None:
    """The history as it is when a button is pressed."""

    def table() -> str:
        return FORMATS["csv"].content(stream.documents()).decode()

    def labels(number: int) -> str:
        name = stream.settings.names[number]
        documents = [each for each in stream.documents() if each["model"] == name]
        return FORMATS["audacity"].content(documents).decode()

    with st.container(horizontal=True, gap="small"):
        download_button(
            "History as CSV",
            table,
            "pannscope-live.csv",
            key="live_csv",
            mime="text/csv",
            help_text="The events of both networks so far, with those of networks that were chosen before.",
        )
        for number, name in enumerate(dict.fromkeys(stream.settings.names)):
            download_button(
                f"Audacity labels, {title(name)}",
                partial(labels, number),
                f"pannscope-live-{number + 1}.txt",
                key=f"live_audacity_{number}",
                help_text="A label track to import in Audacity.",
            )


page()
