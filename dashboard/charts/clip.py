"""A clip as waveform and log-mel spectrogram on one time axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.models.frontend import mel_centers
from dashboard import formats
from dashboard.charts.clip_picture import DYNAMIC_RANGE_DB, ClipPicture
from dashboard.charts.layout import axis, axis_title, base_layout
from dashboard.charts.palette import Palette

_HEIGHT_PX = 300
_QUIETEST_PEAK = (
    0.01  # the waveform's axis ends here at the least, so that noise of one bit does not look loud
)
_FREQUENCIES_HZ = (100, 500, 1000, 2000, 5000, 10_000)


def clip_figure(picture: ClipPicture, *, palette: Palette) -> go.Figure:
    """Waveform above log-mel spectrogram."""
    bins = len(picture.low)
    limit = max(picture.peak, _QUIETEST_PEAK)
    outline = {
        "x": ((np.arange(bins) + 0.5) * picture.duration_s / bins).astype(np.float32),
        "mode": "lines",
        "line": {"width": 0.8, "color": palette.wave},
        "hoverinfo": "skip",
        "showlegend": False,
        "yaxis": "y2",
    }
    figure = go.Figure()
    figure.add_scatter(y=picture.low, **outline)
    figure.add_scatter(y=picture.high, fill="tonexty", fillcolor=palette.wave, **outline)
    add_spectrogram(figure, picture, palette)
    figure.update_layout(
        height=_HEIGHT_PX,
        margin={"l": 52, "r": 6, "t": 6, "b": 34, "pad": 0},
        hovermode="closest",
        yaxis2={
            "domain": [0.72, 1.0],
            "range": [-limit * 1.05, limit * 1.05],
            "tickvals": [-limit, 0, limit],
            "ticktext": [formats.signed(-limit), "0", formats.probability(limit)],
            **axis(palette),
        },
        yaxis={"domain": [0.0, 0.66], **mel_axis(palette)},
        xaxis={
            "range": [0, picture.duration_s],
            "anchor": "y",
            "title": axis_title("time (s)", palette, standoff=4),
            "nticks": 8,
            **axis(palette),
        },
        **base_layout(palette),
    )
    return figure


def clip_alt(name: str, picture: ClipPicture) -> str:
    """The same chart in words, for screen readers."""
    return (
        f"Waveform and log-mel spectrogram of {name}: {formats.seconds(picture.duration_s)}, "
        f"peak {formats.probability(picture.peak)}."
    )


def add_spectrogram(figure: go.Figure, picture: ClipPicture, palette: Palette, *, yaxis: str = "y") -> None:
    """Add the log-mel spectrogram as a heat map over seconds and mel bands; darkest (brightest on dark) is loudest."""
    column_s = picture.duration_s / picture.levels.shape[1]
    loudest = int(picture.levels.max())
    figure.add_heatmap(
        z=picture.levels,
        x0=column_s / 2,
        dx=column_s,
        yaxis=yaxis,
        zmin=loudest - DYNAMIC_RANGE_DB,
        zmax=loudest,
        showscale=False,
        colorscale=palette.colorscale,
        hovertemplate="%{x:.2f} s · %{z} dB<extra></extra>",
    )


def mel_axis(palette: Palette) -> dict[str, Any]:
    """An axis that counts mel bands from 0, with its ticks in Hz."""
    centres = mel_centers()
    ticks = [formats.kilohertz(hz) if hz >= 1000 else f"{hz}{formats.NBSP}Hz" for hz in _FREQUENCIES_HZ]
    return {
        "range": [-0.5, len(centres) - 0.5],
        "tickvals": np.interp(_FREQUENCIES_HZ, centres, np.arange(len(centres))).tolist(),
        "ticktext": ticks,
        **axis(palette),
    }
