"""Figures of a layer's filters: sorted importance, and one filter's feature map of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.feature_map import FeatureMap
from dashboard import formats
from dashboard.charts.clip import add_spectrogram, mel_axis
from dashboard.charts.clip_picture import ClipPicture, max_pool
from dashboard.charts.layout import TRANSPARENT, axis, axis_title, base_layout
from dashboard.charts.palette import Palette

MAX_TARGETS = 512
"""Clickable bars over the curve; more would be narrower than a pixel, and slow."""

_BINS = 28
_LOG_BELOW = (
    0.05  # a median score under this is drawn on a log scale: on a linear one nearly all bars would be flat
)
_POWERS = ("1", "0.1", "0.01", "0.001", "10⁻⁴", "10⁻⁵")
_DECADES = len(_POWERS) - 1
_SHORTEST_BAR = 0.05  # decades: height of the lowest bars, so that they stay visible
_IMPORTANCE_PX = 280
_HEADROOM = 1.18  # above the strongest filter, for the label of the selected one


def importance(
    scores: np.ndarray, order: Sequence[int], kept: int, selected: int, *, palette: Palette
) -> go.Figure:
    """Sorted importance with the cut, and its histogram on the same scale.

    The first three traces are the kept filters, the removed ones, and transparent bars over them that can be clicked:
    ``targets`` returns their filters.

    Parameters
    ----------
    scores : (filters,), at most 1.
    order : the filters, most important first.
    kept : how many of them are kept.
    selected : the filter to be marked.
    """
    count = len(order)
    levels, ticks, y_title = _levels(scores[list(order)])
    top = float(ticks["tickvals"][-1])
    figure = go.Figure()
    sides = ((0, kept, palette.pruned), (kept, count, palette.removed))
    for start, end, color in sides:
        figure.add_scatter(
            x=np.r_[start + 0.5, np.arange(start + 1, end + 1), end + 0.5],
            y=np.r_[levels[start:end][:1], levels[start:end], levels[start:end][-1:]],
            mode="lines",
            line={"shape": "hvh", "width": 0},
            fill="tozeroy",
            fillcolor=color,
            hoverinfo="skip",
            showlegend=False,
        )
    size = _target_size(count)
    firsts = list(range(0, count, size))
    figure.add_bar(
        x=[first + 0.5 + min(size, count - first) / 2 for first in firsts],
        y=[top] * len(firsts),
        width=[min(size, count - first) for first in firsts],
        marker={"color": TRANSPARENT, "line": {"width": 0}},
        hovertext=[_target_text(scores, order, kept, first, size) for first in firsts],
        hoverinfo="text",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        showlegend=False,
    )
    edges = np.linspace(0.0, top, _BINS + 1)
    fullest = int(np.histogram(np.clip(levels, 0, top), edges)[0].max())
    for start, end, color in sides:
        numbers, _ = np.histogram(np.clip(levels[start:end], 0, top), edges)
        figure.add_bar(
            x=numbers,
            y=(edges[:-1] + edges[1:]) / 2,
            width=edges[1] - edges[0],
            orientation="h",
            marker={"color": color, "line": {"width": 0}},
            hovertemplate="%{x} filters<extra></extra>",
            xaxis="x2",
            showlegend=False,
        )
    rank = list(order).index(selected) + 1
    _mark(figure, rank, count, float(levels[rank - 1]), f"filter {selected}", palette=palette)
    _cut(figure, levels, kept, top, palette)
    figure.update_layout(
        height=_IMPORTANCE_PX,
        margin={"l": 52, "r": 6, "t": 26, "b": 40, "pad": 0},
        clickmode="event+select",
        hovermode="closest",
        barmode="stack",
        bargap=0,
        xaxis={
            "domain": [0, 0.78],
            "range": [0.5, count + 0.5],
            "title": axis_title("rank of the filter", palette),
            "nticks": 7,
            **axis(palette),
        },
        xaxis2={
            "domain": [0.82, 1],
            "title": axis_title("filters", palette),
            **({"dtick": 1} if fullest <= 4 else {"nticks": 4}),
            "rangemode": "tozero",
            **axis(palette),
        },
        yaxis={
            "range": [0, top * _HEADROOM],
            **ticks,
            "title": axis_title(y_title, palette),
            **axis(palette),
        },
        **base_layout(palette),
    )
    return figure


def targets(order: Sequence[int]) -> list[int]:
    """The filter of each of ``importance``'s clickable bars."""
    return [order[first] for first in range(0, len(order), _target_size(len(order)))]


def sound_and_map(
    picture: ClipPicture, feature_map: FeatureMap, *, seconds: float, name: str, palette: Palette
) -> go.Figure:
    """The clip's log-mel spectrogram above one filter's feature map, on the same axes of time and frequency."""
    figure = go.Figure()
    add_spectrogram(figure, picture, palette, yaxis="y2")
    peak = float(feature_map.values.max())
    per_cent = (
        np.rint(100 * feature_map.values / (peak or 1.0)).astype(np.uint8).T
    )  # (bands, frames), of the peak
    pooled = max_pool(per_cent)
    step = feature_map.frame_s * per_cent.shape[1] / pooled.shape[1]
    figure.add_heatmap(
        z=pooled,
        x0=feature_map.first_frame_s + (step - feature_map.frame_s) / 2,
        dx=step,
        y0=feature_map.first_band,
        dy=feature_map.band_height,
        zmin=0,
        zmax=100,
        colorscale=palette.colorscale,
        showscale=False,
        hovertemplate="%{x:.2f} s · %{z} % of its peak<extra></extra>",
    )
    for at, text in ((1.0, "log-mel of the clip"), (0.485, f"feature map of {name}")):
        figure.add_annotation(
            x=0,
            y=at,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            text=text,
            showarrow=False,
            font={"size": 12, "color": palette.quiet},
        )
    figure.update_layout(
        height=380,
        margin={"l": 52, "r": 6, "t": 22, "b": 38, "pad": 0},
        hovermode="closest",
        yaxis2={"domain": [0.555, 1.0], **mel_axis(palette)},
        yaxis={
            "domain": [0.0, 0.475],
            **mel_axis(palette),
            **({} if feature_map.mel_bands else {"showticklabels": False}),
        },
        xaxis={
            **axis(palette),
            "range": [0, seconds],
            "anchor": "y",
            "nticks": 8,
            "title": axis_title("time (s)", palette),
        },
        **base_layout(palette),
    )
    return figure


def _levels(ordered: np.ndarray) -> tuple[np.ndarray, dict[str, Any], str]:
    """Bar heights, the ticks and title of their axis; logarithmic where most scores are tiny."""
    if float(np.median(ordered)) >= _LOG_BELOW:
        return ordered, {"tickvals": [0, 0.25, 0.5, 0.75, 1], "nticks": 5}, "importance"
    least = float(ordered[ordered > 0].min())
    decades = int(np.clip(np.ceil(-np.log10(least)), 1, _DECADES))
    heights = np.maximum(np.log10(np.maximum(ordered, 10.0**-decades)) + decades, _SHORTEST_BAR)
    names = list(_POWERS[decades::-1])
    if float(ordered.min()) < 10.0**-decades:
        names[0] = f"≤{names[0]}"
    return heights, {"tickvals": list(range(decades + 1)), "ticktext": names}, "importance (log scale)"


def _target_size(count: int) -> int:
    return -(-count // MAX_TARGETS)


def _target_text(scores: np.ndarray, order: Sequence[int], kept: int, first: int, size: int) -> str:
    index = order[first]
    fate = "kept" if first < kept else "removed"
    text = f"filter {index} · rank {first + 1}<br>importance {scores[index]:.3g}, {fate}"
    return text if size == 1 else text + f"<br>and the next {min(size, len(order) - first) - 1}"


def _mark(figure: go.Figure, rank: int, count: int, height: float, text: str, *, palette: Palette) -> None:
    near_the_axis = rank < 0.15 * count
    figure.add_annotation(
        x=rank,
        y=height,
        text=text,
        # To the left where there is room: the cut's line is to the right of the last kept filter.
        xanchor="left" if near_the_axis else "right",
        ax=8 if near_the_axis else -6,
        ay=-20,
        arrowcolor=palette.ink,
        arrowwidth=1,
        arrowhead=6,
        font={"size": 12, "color": palette.ink},
    )


def _cut(figure: go.Figure, levels: np.ndarray, kept: int, top: float, palette: Palette) -> None:
    """The cut through both charts, and the number of filters on either side of it."""
    count = len(levels)
    line = {"width": 1, "color": palette.ink, "dash": "dot"}
    if kept < count:
        between = float(levels[kept - 1] + levels[kept]) / 2
        figure.add_shape(type="line", x0=kept + 0.5, x1=kept + 0.5, y0=0, y1=top * _HEADROOM, line=line)
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=between, y1=between, line=line)
    for at, text, anchor, color in (
        (0.0, f"<b>{formats.whole(kept)} kept</b>", "left", palette.pruned_text),
        (
            0.78,
            f"<b>{formats.whole(count - kept)} removed</b>" if kept < count else "",
            "right",
            palette.quiet,
        ),
    ):
        figure.add_annotation(
            x=at,
            y=1.0,
            xref="paper",
            yref="paper",
            xanchor=anchor,
            yanchor="bottom",
            text=text,
            showarrow=False,
            font={"size": 13, "color": color},
        )
