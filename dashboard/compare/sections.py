"""The parts of the Compare page: the recording, what the networks cost, and their agreement."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.audio import Clip, UncheckedClip
from core.compare import Comparison
from core.comparisons import Comparisons
from core.examples import EXAMPLES
from core.profiling import Latency
from dashboard import formats
from dashboard.charts.clip import clip_alt, clip_figure
from dashboard.charts.layout import CONFIG
from dashboard.charts.palette import LIGHT
from dashboard.compare.settings import Settings
from dashboard.server.clips import OpenedClip
from dashboard.server.own_networks import file_bytes
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import clip_input, engine_text
from dashboard.widgets.metric_card import card, metric_cards
from dashboard.widgets.theme import palette

_SHARED_SHOWN = 12

EXAMPLE = {example.key: example for example in EXAMPLES}


def title(source: Source, clip: Clip) -> None:
    """What the clip is, and which of its channels is used."""
    example = EXAMPLE.get(source.example or "")
    origin = (
        "synthesised"
        if example
        else f"{formats.kilohertz(clip.sample_rate_hz)} {formats.channels(clip.channels)}"
    )
    lasts = (formats.about if isinstance(clip, UncheckedClip) else formats.seconds)(clip.duration_s)
    st.markdown(
        f"**{formats.escaped(source.name)}** :small[:gray[{lasts} · {origin}]]",
        help="Played as the networks receive it: mixed to mono, 32 kHz, at its own level.",
    )
    if example is None:
        clip_input.choose_channel(source, clip)


def recording(source: Source, opened: OpenedClip) -> None:
    """The clip: what it is, its player, and its picture."""
    example = EXAMPLE.get(source.example or "")
    title(source, opened.clip)
    st.audio(opened.sound, format=opened.sound_type, alt=f"Player of {source.name}")
    st.plotly_chart(
        clip_figure(opened.picture, palette=palette()),
        config=CONFIG,
        key="clip_picture",
        alt=clip_alt(source.name, opened.picture),
    )
    louder = "darker" if palette() is LIGHT else "brighter"
    st.caption(
        (f"{example.about} " if example else "")
        + f"Waveform, and its log-mel spectrogram: {louder} is louder."
    )


def costs(settings: Settings, titles: Sequence[str]) -> DeltaGenerator:
    """Parameters, MACs and file size as cards; returns the place of the fourth, for the time."""
    counted = [get_server().costs(name) for name in settings.networks]
    graphs = any(each.macs is None for each in counted)  # of an ONNX file the paper's count cannot be made
    with st.grid(4, min_column_width=160, gap="small"):
        metric_cards(
            "Parameters",
            [each.params for each in counted],
            titles,
            formats.count,
            "Trainable weights: convolutions, batch norms and linear layers. The front end's frozen weights are "
            "left out, as in the papers. "
            + ("Of an ONNX file all weights, since it does not say which were learned. " if graphs else "")
            + "Counted here from the shape of each network.",
        )
        network = [each.macs_network for each in counted]
        metric_cards(
            "MACs for 10 s",
            network if graphs else [each.macs for each in counted],
            titles,
            formats.count,
            "Multiply-accumulate operations for a clip of 10 s, of convolutions, linear layers and other matrix products alone; an ONNX "
            "file's front end is part of its graph, and of its figure. Counted here."
            if graphs
            else "Multiply-accumulate operations for a clip of 10 s, by the paper's convention: as thop counts, batch norms "
            "included, and the spectrogram as the reference's two convolutions, which pruning leaves alone. "
            f"Convolutions and linear layers alone: {', '.join(formats.count(each or 0) for each in network)}. Counted here.",
        )
        metric_cards(
            "File size",
            [file_bytes(name) for name in settings.networks],
            titles,
            formats.file_size,
            "The checkpoint file; 1 MB is 1,000,000 bytes. Demonstration models are stored in half precision.",
        )
        slot = st.empty()
        if get_server().known_latencies(settings.networks) is None:
            with slot.container():
                card("Time here", "measuring …", None, "The networks are being timed, alternating.")
    reasons = [f"Not counted: {formats.escaped(each.why)}." for each in counted if each.why]
    st.caption(
        " ".join(
            [
                "MACs: multiply-accumulate operations, the arithmetic of one pass over the clip.",
                *dict.fromkeys(reasons),
            ]
        )
    )
    return slot


def time_here(slot: DeltaGenerator, settings: Settings, titles: Sequence[str]) -> None:
    """The card of the measured time, once everything else stands."""
    measured = get_server().latencies(settings.networks)
    latencies = [timed.latency for timed in measured]
    spreads = ", ".join(f"{name} {_spread(each)}" for name, each in zip(titles, latencies, strict=True))
    fallback = engine_text.fallback(measured)
    with slot.container():
        metric_cards(
            "Time here",
            [each.median_ms for each in latencies],
            titles,
            formats.milliseconds,
            f"{engine_text.conditions(measured)} {spreads}.",
        )
        if fallback:
            st.caption(fallback)


def agreements(result: Comparisons, titles: Sequence[str]) -> None:
    """The tags that count, and the measures of agreement, of the first network with each of the others."""
    for pair, name in zip(result.of_baseline, titles[1:], strict=True):
        if len(titles) > 2:
            st.markdown(f"#### {formats.escaped(f'{titles[0]} and {name}')}")
        _agreement(pair, (titles[0], name))


def _agreement(comparison: Comparison, titles: tuple[str, str]) -> None:
    """The tags that count, and the measures of agreement, each with what it means."""
    measured = comparison.agreement
    threshold = formats.probability(measured.threshold)
    if comparison.shared is not None:
        st.caption(_shared(comparison.shared))
    for column, heading, names, about in zip(
        st.columns(3, gap="medium"),
        ("Kept", "Lost", "Gained"),
        (measured.kept, measured.lost, measured.gained),
        ("both networks give", f"only {titles[0]} gives", f"only {titles[1]} gives"),
        strict=True,
    ):
        column.markdown(f"**{heading} at {threshold}**", help=f"Tags to which {about} {threshold} or more.")
        column.markdown(_listed(names))
    with st.grid(4, min_column_width=150, gap="small"):
        st.metric(
            "Kept tags",
            formats.DASH if measured.kept_share is None else formats.percent(measured.kept_share),
            help=f"Kept, of all tags with {threshold} or more in either network. A dash where there is none.",
        )
        st.metric(
            "Divergence",
            formats.nats(measured.divergence),
            help=f"Kullback-Leibler divergence of {titles[1]}'s probabilities from {titles[0]}'s in nats, every class a yes/no "
            "variable, summed over the classes. 0 means identical outputs.",
        )
        st.metric(
            "Rank correlation",
            "not defined" if measured.spearman is None else formats.correlation(measured.spearman),
            help="Spearman's: whether both networks rank all "
            f"{measured.shared_classes} tags in the same order. 1 is the same order, 0 none, −1 the reverse. Most tags are far "
            "below the threshold, where the order is mostly noise. It is not defined where a network gives all tags the same "
            "probability.",
        )
        st.metric(
            "Largest difference",
            formats.probability(measured.max_abs_difference),
            help=f"The largest change of a tag's probability, at {measured.max_difference_tag}.",
        )


def _shared(names: Sequence[str]) -> str:
    """The classes that are compared, where the networks have others as well."""
    more = f" and {len(names) - _SHARED_SHOWN} more" if len(names) > _SHARED_SHOWN else ""
    listed = formats.escaped(", ".join(names[:_SHARED_SHOWN]))
    count = "the only class" if len(names) == 1 else f"the {len(names)} classes"
    return f"Compared over {count} that both networks have: {listed}{more}."


def _spread(latency: Latency) -> str:
    return f"{formats.milliseconds(latency.low_ms)} to {formats.milliseconds(latency.high_ms)}"


def _listed(names: Sequence[str]) -> str:
    return " · ".join(formats.escaped(name) for name in names) if names else ":gray[None]"
