"""The Filters page's section on order: how much the published criterion depends on the order of a layer's filters."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.pruning.order import OrderDependence
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.filters import agreement_charts
from dashboard.filters.view import LayerView
from dashboard.server.server import get_server
from dashboard.server.time_left import TimeLeft
from dashboard.widgets import order_note
from dashboard.widgets.theme import palette

_WHY = """
The operator norm adds up a filter's responses over the input channels, each with a sign. A singular vector has no sign of
its own, so the published code needs a rule: it flips every channel such that **filter 0**, whichever filter the checkpoint
happens to store first, responds positively. Filter 0 is then the only one whose responses never cancel, and it ranks first;
for all others the signs are close to random.

A network's filters have no order: permute them, and the inputs of the next layer with them, and it computes the same. A
ranking that changes with the order depends on the file, not on the network. Pannscope keeps the published rule as its
default, since E-PANNs was made with it, and offers two variants that no order can change: **operator-norm-energy** adds up
the squared responses, **operator-norm-abs** their absolute values.

Only the first filter matters, the others may come in any order. So each filter is put first once, and that covers every
possible order.
"""

_ByLayer = dict[str, tuple[OrderDependence, dict[str, int]]]


def note(view: LayerView) -> None:
    """What has to be known of the published criterion where it is chosen, with the way to this part."""
    settings = view.settings
    if settings.criterion != order_note.CRITERION or view.kept == len(view.order):
        return
    result = get_server().order_dependence(settings.network, settings.layer, settings.ratio)
    if result.mean_stays > order_note.ALL_STAY:
        return
    left, right = st.columns(order_note.COLUMNS, vertical_alignment="center")
    left.caption(order_note.text(view.layer, settings.ratio, result))
    right.button("Every layer", key="show_order", type="tertiary", icon=order_note.ICON, on_click=_show)


def _show() -> None:
    st.session_state["part"] = "Order"


def dependence(view: LayerView) -> None:
    """Whether the order of the filters matters: in this layer, and in all."""
    server, settings = get_server(), view.settings
    st.markdown(_answer(view, server.order_dependence(settings.network, settings.layer, settings.ratio)))
    placeholder = st.empty()

    time_left = TimeLeft()

    def on_step(done: int, total: int, layer: str) -> None:
        time_left.update(done, total)
        doing = f"Putting each filter of {layer} first ({done + 1} of {total})"
        placeholder.progress(done / total, text=formats.progress(doing, time_left.seconds()))

    by_layer = server.order_by_layer(settings.network, settings.ratio, on_step)
    placeholder.empty()
    left, right = st.columns([6, 7], gap="large")
    with left:
        _kept_by_layer(view, by_layer)
    with right:
        _rank_of_first(by_layer)
    with st.expander("Why does the order matter?", icon=":material/help:"):
        st.markdown(_WHY)


def _kept_by_layer(view: LayerView, by_layer: _ByLayer) -> None:
    st.markdown("**Another filter first: what is still kept**")
    results = [result for result, _ in by_layer.values()]
    st.plotly_chart(
        agreement_charts.order_by_layer(
            list(by_layer),
            [result.mean_stays for result in results],
            [float(result.others.min()) for result in results],
            [float(result.others.max()) for result in results],
            chance=1 - view.settings.ratio,
            chosen=view.layer,
            palette=palette(),
        ),
        config=CONFIG,
        key="order",
        alt="; ".join(
            f"{layer} {formats.percent(result.mean_stays)} still kept"
            for layer, (result, _) in by_layer.items()
        ),
    )
    st.caption(
        "Of the filters that the operator norm keeps in the checkpoint's order, the share that it still keeps with another "
        "filter first: mean (number and dot), minimum and maximum (line). The energy and abs variants keep all of them in any "
        "order."
    )


def _rank_of_first(by_layer: _ByLayer) -> None:
    st.markdown("**Rank of filter 0**")
    rows = [
        (layer, result.filters, *rank_of_first.values(), 100 * result.first_ranks_first)
        for layer, (result, rank_of_first) in by_layer.items()
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows, columns=["Layer", "Filters", "published", "energy", "abs", "first"]),
        hide_index=True,
        height=38 + 35 * len(rows),
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True, width=max(48, 10 * max(map(len, by_layer)))),
            "Filters": number(width=58),
            "published": number("Published", width=76, help="By the operator norm as published."),
            "energy": number("Energy", width=62, help="By operator-norm-energy."),
            "abs": number("Abs", width=50, help="By operator-norm-abs."),
            "first": number(
                "If first",
                format=f"%.0f{formats.NBSP}%%",
                width=62,
                help="The share of the layer's filters that the operator norm ranks first once they are put first.",
            ),
        },
        alt="Rank of filter 0 in every layer by the three variants of the operator norm",
    )
    st.caption(
        "Rank of filter 0 by the published criterion and by the two variants that no order can change; and the share of all "
        "filters that would rank first if they were put first."
    )


def _answer(view: LayerView, result: OrderDependence) -> str:
    if view.kept == len(view.order):
        return f"At {view.settings.cut} all filters are kept in any order. Choose a higher ratio to see the effect of the order."
    if result.mean_stays > order_note.ALL_STAY:
        return f"**The order does not matter in {view.layer}.** Each of its filters has one kernel, so that there is no sign to choose."
    return (
        f"**The order matters in {view.layer}:** put another filter first, and on average "
        f"{formats.percent(result.mean_stays)} of the filters that the operator norm keeps are still kept. A random selection "
        f"would keep {formats.percent(result.chance)} of them."
    )
