"""The Filters page's section on a recording: the selected filter's feature map of the current clip."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.feature_map import FeatureMap
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.palette import LIGHT
from dashboard.filters import charts
from dashboard.filters.view import LayerView
from dashboard.server.filters import MAX_SECONDS
from dashboard.server.models import class_names
from dashboard.server.server import get_server
from dashboard.widgets import clip_input, opening
from dashboard.widgets.theme import palette


def feature_map(view: LayerView) -> None:
    """The clip, its player and the feature map, with ways to choose another clip."""
    name, server = f"filter {view.selected} of {view.layer}", get_server()
    st.markdown("**On a recording**")
    inputs, examples = st.container(), st.container()
    with inputs:
        source = clip_input.choose_one(examples, class_names(view.network))
    player, placeholder = st.empty(), st.empty()
    try:
        clip = opening.opened(source, placeholder)
        player.audio(clip.sound, format=clip.sound_type, alt=f"Player of {source.name}")
        if not server.has_layer_input(source, view.network, view.layer):
            placeholder.skeleton(height=380)
        result = server.feature_map(
            source,
            view.network,
            view.layer,
            view.selected,
            lambda ahead: placeholder.caption(formats.waiting(ahead)),
        )
        placeholder.empty()
    except PannscopeError as error:
        placeholder.error(formats.escaped(str(error)), icon=":material/error:")
        return
    duration_s = clip.clip.duration_s
    frames, bands = result.values.shape
    st.plotly_chart(
        charts.sound_and_map(
            clip.picture, result, seconds=min(duration_s, MAX_SECONDS), name=name, palette=palette()
        ),
        config=CONFIG,
        key="feature_map",
        alt=f"Log-mel spectrogram of {source.name}, and below it the feature map of {name}: "
        f"{frames} frames in {bands} bands.",
    )
    st.caption(_caption(name, result, duration_s))


def _caption(name: str, result: FeatureMap, duration_s: float) -> str:
    if result.values.any():
        more = "darker" if palette() is LIGHT else "brighter"
        text = (
            f"Where and at which frequencies {name} responds, after batch norm and ReLU: {more} is stronger."
        )
        covers = [formats.milliseconds(1000 * result.frame_s)]
        if result.mel_bands and result.mel_bands > 1:
            covers.append(formats.plural(round(result.mel_bands), "mel band"))
        if result.mel_bands != 1:
            text += f" One value covers {' and '.join(covers)}."
        if result.values.shape[1] == 1:
            text = f"When {name} responds, after batch norm and ReLU: {more} is stronger. One value covers {covers[0]}; this layer's maps have no frequencies."
        elif result.mel_bands is None:
            text += " Its bands, low to high, are not those of the spectrogram above."
    else:
        text = f"{name[0].upper()}{name[1:]} does not respond to this clip."
    if duration_s > MAX_SECONDS:
        text += f" The first {formats.seconds(MAX_SECONDS)} of the clip are drawn."
    return text
