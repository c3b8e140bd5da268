"""What the Prune page draws of one cut: its counts at once, then what the pruned network hears."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.compare import Comparison
from core.models.cnn import LAYERS, Cnn14Config
from core.profiling import (
    Counts,
    activation_bytes,
    count,
    counted_reductions,
    disagreements,
    paper_figures,
    paper_ratio,
    sweep,
)
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.mirrored_tags import MARGIN_PX, ROW_PX, mirrored_tags, mirrored_tags_alt
from dashboard.prune import charts
from dashboard.prune.charts import Line, Mark
from dashboard.prune.cut import THRESHOLD, TOP_K
from dashboard.prune.settings import PruneSettings
from dashboard.server.models import TIMED_SECONDS
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import tables
from dashboard.widgets.metric_card import card, metric_card
from dashboard.widgets.theme import palette

PRUNED = "Pruned"
TAGS_PX = ROW_PX * TOP_K + MARGIN_PX
_SECONDS = TIMED_SECONDS
_SHARES = tuple((step / 4, formats.percent(step / 4)) for step in range(5))


def answer(before: Cnn14Config, after: Cnn14Config, settings: PruneSettings) -> str:
    """The cut in one sentence."""
    if before.widths == after.widths:
        return "Nothing is removed yet: move the slider"
    old, new = count(before, _SECONDS), count(after, _SECONDS)
    if settings.plan is not None:
        what = "This plan"
    elif settings.ratio is not None:
        what = f"{formats.percent(settings.ratio)} of the filters of {settings.where} gone"
    else:
        what = f"Filters of {settings.where} gone"
    return (
        f"{what}: {formats.change(old.params_trainable, new.params_trainable)} parameters, "
        f"{formats.change(old.macs, new.macs)} MACs"
    )


def figures(before: Cnn14Config, after: Cnn14Config) -> DeltaGenerator:
    """What the cut saves, as cards; gives the place of the last one, the measured time."""
    old, new = count(before, _SECONDS), count(after, _SECONDS)
    with st.grid(5, min_column_width=150, gap="small"):
        metric_card(
            "Parameters",
            (old.params_trainable, new.params_trainable),
            formats.count,
            "Weights that training sets: convolutions, batch norms and linear layers. The front end's frozen weights are left "
            "out, as in the papers. Counted from the widths.",
        )
        metric_card(
            "MACs for 10 s",
            (old.macs, new.macs),
            formats.count,
            "Multiply-accumulate operations for a clip of 10 s by the paper's convention: as thop counts, batch norms included, "
            "and the spectrogram as the reference's two convolutions, which pruning leaves alone. Convolutions and linear layers "
            f"alone: {formats.count(old.macs_network)} and {formats.count(new.macs_network)}.",
        )
        metric_card(
            "Size, float32",
            (old.file_bytes, new.file_bytes),
            formats.file_size,
            "The tensors of Pannscope's own file; 1 MB is 1,000,000 bytes. In half precision "
            f"{formats.file_size(old.file_bytes_float16)} and {formats.file_size(new.file_bytes_float16)}; "
            f"with the front end, as the published files store it, {formats.file_size(old.size_bytes)} and "
            f"{formats.file_size(new.size_bytes)}.",
        )
        metric_card(
            "Peak memory",
            (activation_bytes(before, _SECONDS), activation_bytes(after, _SECONDS)),
            formats.file_size,
            "The most that a pass over 10 s holds at once besides the weights, in float32: waveform, spectra and feature maps. "
            "The front end and the first layers decide it, which C7 to C12 do not change. Counted from the shapes.",
        )
        place = st.empty()
        with place.container():
            card("Time here", ":gray[…]", None, "Both networks listen to 10 s of audio on this machine.")
        return place


def paper(before: Cnn14Config, after: Cnn14Config) -> None:
    """The paper's figures, where it has this very network, and what it says otherwise than the count does."""
    stated = paper_figures(after)
    if stated is None or before.widths == after.widths:
        return
    counted = counted_reductions(after)
    st.caption(
        f"**The E-PANNs paper** has this network: {stated['params_reduction_pct']:g}{formats.NBSP}% fewer parameters, "
        f"{stated['macs_reduction_pct']:g}{formats.NBSP}% fewer MACs, mAP {stated['mAP']:.3f} after fine-tuning. "
        f"**Counted here** in the paper's way, against the published CNN14: {counted.params_pct:.1f}{formats.NBSP}% and "
        f"{counted.macs_pct:.1f}{formats.NBSP}%."
    )
    told = [each.says for each in disagreements(paper_ratio(after)) if each.paper_pct is not None]
    if told:
        st.info(" ".join(told), icon=":material/info:")


def architecture(before: Cnn14Config, after: Cnn14Config) -> None:
    """The picture of the network's widths."""
    layers = (*LAYERS, "fc1")
    widths = [(*each.widths, each.embedding) for each in (before, after)]
    st.markdown("**The network, before and after**")
    st.plotly_chart(
        charts.architecture(layers, *widths, palette=palette()),
        config=CONFIG,
        key="architecture",
        alt=charts.architecture_alt(layers, *widths),
    )
    st.caption("Channels of every layer, sound above, tags below: :orange[what stays], :gray[what goes].")


def costs(before: Cnn14Config, after: Cnn14Config, settings: PruneSettings) -> None:
    """Parameters and MACs over all ratios, the present cut marked."""
    points = sweep(
        before.widths,
        settings.touched,
        classes=before.classes,
        embedding=before.embedding,
        seconds=_SECONDS,
        round_to=settings.round_to,
    )
    whole, here = count(before, _SECONDS), count(after, _SECONDS)
    at = removed(before, after, settings)
    lines = [
        Line(
            name,
            [point.ratio for point in points],
            [value(point.counts) / value(whole) for point in points],
            dash,
        )
        for name, value, dash in (("parameters", _params, "solid"), ("MACs", _macs, "dash"))
    ]
    marks = [Mark("Now", at, value(here) / value(whole)) for value in (_params, _macs)]
    stated = [(point.ratio, point.paper) for point in points if point.paper and point.ratio > 0]
    for ratio, figures_there in stated:
        for quantity, name in (("params_reduction_pct", "parameters"), ("macs_reduction_pct", "MACs")):
            marks.append(Mark(f"The paper, {name}", ratio, 1 - figures_there[quantity] / 100, hollow=True))
    st.markdown("**What it costs to run, at every ratio**")
    st.plotly_chart(
        charts.curves(
            lines,
            marks,
            palette=palette(),
            y_title="of the unpruned network",
            y_range=(0.0, 1.0),
            y_ticks=_SHARES,
            form=formats.tenths_of_percent,
            at=at,
        ),
        config=CONFIG,
        key="costs",
        alt=charts.curves_alt(lines, "Parameters and MACs, of the unpruned network's", formats.percent),
    )
    st.caption(
        f"The same share removed from {settings.where}; dots are the present cut."
        + (" Diamonds are the paper's figures." if stated else "")
        + ("" if settings.ratio is not None else " It stands at the share of their filters that it removes.")
    )


def removed(before: Cnn14Config, after: Cnn14Config, settings: PruneSettings) -> float:
    """The share of the touched layers' filters that goes, at most 0.9: where the present cut stands on the curves."""
    if settings.ratio is not None:
        return settings.ratio
    places = [LAYERS.index(layer) for layer in settings.touched]
    there = sum(before.widths[place] for place in places)
    left = sum(after.widths[place] for place in places)
    return min(0.9, 1 - left / there) if there else 0.0


def heard(source: Source) -> None:
    """The clip that both networks hear, to be played."""
    opened = get_server().clip(source)
    st.markdown(
        f"**{formats.escaped(source.name)}** :small[:gray[{formats.seconds(opened.clip.duration_s)}]]",
        help="Played as the networks hear it: mixed to mono, 32 kHz, at its own level.",
    )
    st.audio(opened.sound, format=opened.sound_type, alt=f"Player of {source.name}")


def verdict(compared: Comparison) -> str:
    """How far both agree on the clip, in one sentence."""
    measured = compared.agreement
    ranks = (
        "" if measured.spearman is None else f" · rank correlation {formats.correlation(measured.spearman)}"
    )
    return (
        f"**{measured.top_k_overlap} of the first {measured.top_k} tags stay** · largest difference "
        f"{formats.probability(measured.max_abs_difference)} ({formats.escaped(measured.max_difference_tag)}){ranks}"
    )


def names(title: str) -> None:
    """The two networks' names in their colours, over their sides of the chart."""
    left, right = st.columns(2, gap="small", wrap=False)
    left.markdown(f":blue[**{title}**]", text_alignment="right")
    right.markdown(f":orange[**{PRUNED}**]")


def mirrored(compared: Comparison, title: str) -> None:
    """Both networks' tags on one clip."""
    rows = tables.shown_rows(compared, limit=TOP_K)
    st.plotly_chart(
        mirrored_tags(rows, baseline=title, candidate=PRUNED, palette=palette(), threshold=THRESHOLD),
        config=CONFIG,
        key="mirrored_tags",
        alt=mirrored_tags_alt(rows, baseline=title, candidate=PRUNED),
    )


def _params(counts: Counts) -> float:
    return counts.params_trainable


def _macs(counts: Counts) -> float:
    return counts.macs
