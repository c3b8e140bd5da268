"""Two parts of the Filters page that do work of their own: the feature map of a clip, and the order of the filters."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.errors import PannscopeError
from core.models.cnn import LAYERS
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.palette import LIGHT
from dashboard.filters import agreement_charts, charts
from dashboard.filters.sections import View
from dashboard.server.filters import MAX_SECONDS
from dashboard.server.server import get_server
from dashboard.widgets import clip_input
from dashboard.widgets.theme import palette

_WHY = """
The operator norm adds up a filter's responses over the input channels, each with a sign. A singular vector has no sign of
its own, so the published code needs a rule: it turns every channel such that **filter 0**, whichever filter the file happens
to hold first, responds positively. Filter 0 is then the only one whose responses never cancel, and it comes out on top; for
all others the signs are close to a toss of coins.

A network's filters have no order: shuffle them, and their inputs in the next layer with them, and it computes the same. A
ranking that changes with the order says something about the file, not about the sound. Pannscope keeps the published rule as
its default, since it is what E-PANNs was made with, and offers two readings that no order can change:
**operator-norm-energy** adds up the squared responses, **operator-norm-abs** their absolute values.

Only the first filter matters, the others may come in any order. So each filter is put first once, and that stands for every
possible order.
"""


def feature_map(view: View) -> None:
    """What the picked filter makes of the current clip, with ways to choose another."""
    chosen, name = view.chosen, f"filter {view.index} of {view.chosen.layer}"
    st.markdown("**On a recording**")
    ways_in = st.container()
    examples = st.container()
    with ways_in:
        source = clip_input.choose_one(examples)
    player, waiting = st.empty(), st.empty()

    def on_wait(ahead: int) -> None:
        waiting.caption(
            f"Somebody else's clip is being worked on: {formats.plural(ahead, 'turn')} before yours."
        )

    try:
        opened = get_server().clip(source)
        player.audio(opened.sound, format=opened.sound_type, alt=f"Player of {source.name}")
        if not get_server().has_layer_input(source, chosen.network, chosen.layer):
            with waiting.container():
                st.skeleton(height=380)
        found = get_server().feature_map(source, chosen.network, chosen.layer, view.index, on_wait)
        waiting.empty()
    except PannscopeError as error:
        waiting.error(formats.escaped(str(error)), icon=":material/error:")
        return
    seconds = min(opened.clip.duration_s, MAX_SECONDS)
    st.plotly_chart(
        charts.sound_and_map(opened.picture, found, seconds=seconds, name=name, palette=palette()),
        config=CONFIG,
        key="feature_map",
        alt=f"Log-mel spectrogram of {source.name}, and under it the feature map of {name}: "
        f"{found.values.shape[0]} frames in {found.values.shape[1]} bands.",
    )
    more = "darker" if palette() is LIGHT else "brighter"
    told = (
        f"Where and at which frequencies {name} responds, after batch norm and ReLU: {more} is more. One value stands for "
        f"{formats.milliseconds(1000 * found.frame_s)} and {formats.plural(found.pooled, 'mel band')}, since the "
        f"poolings before {chosen.layer} halve time and frequency."
        if found.pooled > 1
        else f"Where and at which frequencies {name} responds, after batch norm and ReLU: {more} is more."
    )
    if not found.values.any():
        told = f"{name[0].upper()}{name[1:]} does not respond to this clip at all."
    if opened.clip.duration_s > MAX_SECONDS:
        told += f" The first {formats.seconds(MAX_SECONDS)} of the clip are drawn."
    st.caption(told)


def order(view: View) -> None:
    """Whether the order of the filters matters: in this layer, and in all twelve."""
    here = get_server().order_dependence(view.chosen.network, view.chosen.layer, view.chosen.ratio)
    st.markdown(_told(view, here.mean_stays, here.chance))
    place = st.empty()

    def tell(done: int, number: int, layer: str) -> None:
        place.progress(done / number, text=f"Putting each filter of {layer} first ({done + 1} of {number})")

    measured = get_server().order_by_layer(view.chosen.network, view.chosen.ratio, tell)
    place.empty()
    left, right = st.columns([6, 7], gap="large")
    with left:
        st.markdown("**Another filter first: what stays kept**")
        st.plotly_chart(
            agreement_charts.order_by_layer(
                LAYERS,
                [each.mean_stays for each, _ in measured.values()],
                [float(each.others.min()) for each, _ in measured.values()],
                [float(each.others.max()) for each, _ in measured.values()],
                chance=1 - view.chosen.ratio,
                chosen=view.chosen.layer,
                palette=palette(),
            ),
            config=CONFIG,
            key="order",
            alt="; ".join(
                f"{layer} {formats.percent(each.mean_stays)} stay" for layer, (each, _) in measured.items()
            ),
        )
        st.caption(
            "Of the filters that the operator norm keeps in the file's order, the share that it still keeps with another "
            "filter first: mean (figure and dot), least and most (line). The energy and abs readings keep all of them in any order."
        )
    with right:
        st.markdown("**Where filter 0 stands**")
        rows = [
            (layer, each.filters, *first.values(), 100 * each.first_ranks_first)
            for layer, (each, first) in measured.items()
        ]
        number = st.column_config.NumberColumn
        st.dataframe(
            pd.DataFrame(rows, columns=["Layer", "Filters", "published", "energy", "abs", "first"]),
            hide_index=True,
            height=38 + 35 * len(rows),
            column_config={
                "Layer": st.column_config.TextColumn(pinned=True, width=48),
                "Filters": number(width=58),
                "published": number(
                    "Published", width=76, help="Filter 0's rank by the operator norm as published."
                ),
                "energy": number("Energy", width=62, help="Filter 0's rank by operator-norm-energy."),
                "abs": number("Abs", width=50, help="Filter 0's rank by operator-norm-abs."),
                "first": number(
                    "If first",
                    format=f"%.0f{formats.NBSP}%%",
                    width=62,
                    help="The share of the layer's filters that rank first by the operator norm once they are put first.",
                ),
            },
            alt="Rank of filter 0 in every layer by the three readings of the operator norm",
        )
        st.caption(
            "Rank of filter 0 by the published criterion and by the two readings that no order can change; and the share of "
            "all filters that would rank first, were they put first."
        )
    with st.expander("Why does the order matter?", icon=":material/help:"):
        st.markdown(_WHY)


def _told(view: View, stays: float, chance: float) -> str:
    layer = view.chosen.layer
    if view.kept == len(view.order):
        return f"At {view.chosen.cut} everything stays in any order. Choose a share that goes to see what the order decides."
    if stays > 0.9995:
        return f"**The order does not matter in {layer}.** With one input channel there is no sign to choose."
    return (
        f"**The order matters in {layer}:** put another filter first, and on average {formats.percent(stays)} of the filters "
        f"that the operator norm keeps are kept still. Drawing lots would keep {formats.percent(chance)} of them."
    )
