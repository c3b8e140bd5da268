"""The Prune page's sections that are counted from the widths alone, and so are drawn at once."""

from __future__ import annotations

import streamlit as st

from core.models.registry import architecture as known_architecture
from core.profiling import (
    Counts,
    SweepPoint,
    counted_reductions,
    disagreements,
    paper_figures,
    paper_ratio,
    sweep,
)
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts
from dashboard.prune.charts import Line, Mark
from dashboard.prune.cut import Cut
from dashboard.widgets.metric_card import metric_card
from dashboard.widgets.slots import Slot
from dashboard.widgets.theme import palette

_CARD_PX = 112
_PAPER_PX = 66  # three lines
_QUARTERS = tuple((step / 4, formats.percent(step / 4)) for step in range(5))


def headline(cut: Cut) -> str:
    """The cut in one sentence."""
    if cut.empty:
        return f"Nothing is removed yet: move the slider to remove filters of {cut.where}"
    before, after = cut.counts
    if cut.settings.plan is not None:
        subject = "This plan"
    elif cut.settings.ratio is not None:
        subject = f"{formats.percent(cut.settings.ratio)} of the filters of {cut.where} removed"
    else:
        subject = f"Filters of {cut.where} removed"
    return (
        f"{subject}: {formats.change(before.params_trainable, after.params_trainable)} parameters, "
        f"{formats.change(before.macs, after.macs)} MACs"
    )


def metric_cards(cut: Cut) -> Slot:
    """What the cut saves, as cards; returns the place of the last card, the measured time."""
    before, after = cut.counts
    with st.grid(5, min_column_width=150, gap="small"):
        metric_card(
            "Parameters",
            (before.params_trainable, after.params_trainable),
            formats.count,
            "Trainable parameters: convolutions, batch norms and linear layers. The front end's frozen weights are left out, as "
            "in the papers. Counted from the widths.",
        )
        metric_card(
            "MACs for 10 s",
            (before.macs, after.macs),
            formats.count,
            "Multiply-accumulate operations for a clip of 10 s by the paper's convention: as thop counts, batch norms included, "
            "and the spectrogram as the reference's two convolutions, which pruning does not change. Convolutions and linear "
            f"layers alone: {formats.count(before.macs_network)} and {formats.count(after.macs_network)}.",
        )
        metric_card(
            "Size, float32",
            (before.file_bytes, after.file_bytes),
            formats.file_size,
            "The tensors of Pannscope's own file; 1 MB is 1,000,000 bytes. In half precision "
            f"{formats.file_size(before.file_bytes_float16)} and {formats.file_size(after.file_bytes_float16)}; "
            f"with the front end, as in the published files, {formats.file_size(before.size_bytes)} and "
            f"{formats.file_size(after.size_bytes)}.",
        )
        metric_card(
            "Peak memory",
            (before.peak_activation_bytes, after.peak_activation_bytes),
            formats.file_size,
            "The maximum that a forward pass over 10 s needs at once in addition to the weights, in float32: waveform, spectra "
            "and feature maps. The front end and the first layers decide it, which pruning later layers does not change. Counted "
            "from the shapes.",
        )
        return Slot("time", _CARD_PX)


def paper(cut: Cut) -> None:
    """The paper's figures where it has this network, and where they differ from the count; as high for every cut of CNN14."""
    published = known_architecture("cnn14").configure()
    if cut.before.config != published:
        return
    box, stated = st.container(height=_PAPER_PX, border=False), paper_figures(cut.after.config)
    if stated is None or cut.empty:
        box.caption(
            "**The E-PANNs paper** has this network with 25, 50 and 75 % of the filters of C7 to C12 removed."
        )
        return
    counted = counted_reductions(cut.after.config)
    notes = [
        entry.says for entry in disagreements(paper_ratio(cut.after.config)) if entry.paper_pct is not None
    ]
    box.caption(
        f"**The E-PANNs paper** has this network: {stated['params_reduction_pct']:g}{formats.NBSP}% fewer parameters, "
        f"{stated['macs_reduction_pct']:g}{formats.NBSP}% fewer MACs, mAP {stated['mAP']:.3f} after fine-tuning. "
        f"**Counted here** in the paper's way, against the published CNN14: {counted.params_pct:.1f}{formats.NBSP}% and "
        f"{counted.macs_pct:.1f}{formats.NBSP}%. " + " ".join(notes)
    )


def architecture(cut: Cut) -> None:
    """The network's widths before and after."""
    names, coupled = cut.before.layers, any(cut.before.coupled.values())
    numbers = () if cut.before.numbered else range(1, len(names) + 1)
    layers = (
        (*(f"{number} {name}" for number, name in zip(numbers, names, strict=True)), "embedding")
        if numbers
        else (*names, "embedding")
    )
    widths = [(*each.filters.values(), each.config.embedding) for each in (cut.before, cut.after)]
    st.markdown("**The network, before and after**")
    st.plotly_chart(
        charts.architecture(layers, *widths, palette=palette()),
        config=CONFIG,
        key="architecture",
        alt=charts.architecture_alt(layers, *widths),
    )
    st.markdown(
        ":small[:gray[Filters of every layer, from input (top) to output:] :orange[kept], :gray[removed.]]"
        + (
            " :small[:gray[Layers that share their filters are one row, under the first one's name.]]"
            if coupled
            else ""
        )
    )


def cost_curves(cut: Cut) -> None:
    """Parameters and MACs over all ratios, the current cut marked."""
    settings, (whole, pruned) = cut.settings, cut.counts
    points = sweep(cut.before.architecture, cut.before.config, settings.touched, settings.round_to)
    lines = [
        Line(
            name,
            [point.ratio for point in points],
            [value(point) / value(whole) for point in points],
            dash,
        )
        for name, value, dash in (("parameters", _params, "solid"), ("MACs", _macs, "dash"))
    ]
    marks = [Mark("Now", cut.ratio, value(pruned) / value(whole)) for value in (_params, _macs)]
    published = [
        Mark(f"The paper, {name}", point.ratio, 1 - point.paper[quantity] / 100, hollow=True)
        for point in points
        if point.paper and point.ratio > 0
        for quantity, name in (("params_reduction_pct", "parameters"), ("macs_reduction_pct", "MACs"))
    ]
    st.markdown("**Parameters and MACs at every ratio**")
    st.plotly_chart(
        charts.curves(
            lines,
            marks + published,
            palette=palette(),
            y_title="of the unpruned network",
            y_range=(0.0, 1.0),
            y_ticks=_QUARTERS,
            form=formats.tenths_of_percent,
            at=cut.ratio,
        ),
        config=CONFIG,
        key="costs",
        alt=charts.curves_alt(lines, "Parameters and MACs, of the unpruned network's", formats.percent),
    )
    st.caption(
        f"The same share removed from each of {cut.where}; dots are the current cut."
        + (" Diamonds are the paper's figures." if published else "")
        + (
            ""
            if settings.ratio is not None
            else " It is at the share of these layers' filters that it removes."
        )
    )


def _params(counts: Counts | SweepPoint) -> float:
    return counts.params_trainable


def _macs(counts: Counts | SweepPoint) -> float:
    return counts.macs
