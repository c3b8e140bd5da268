"""Figures of a clip and its tags: data in, plotly figure out; nothing here knows of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import plotly.graph_objects as go

from core.models.frontend import mel_centres
from dashboard import formats
from dashboard.charts.clip_picture import DYNAMIC_RANGE_DB, ClipPicture
from dashboard.charts.palette import Palette, axis, plain, shape

MARKED_FROM = 0.10
"""Rows whose two probabilities differ by this much are marked; a reader's eye needs help there, not at 0.02."""

_ROW_PX = 38
_PICTURE_PX = 300
_REACH = 1.24
_FREQUENCIES_HZ = (100, 500, 1000, 2000, 5000, 10_000)


class TagRow(Protocol):
    """One tag of a comparison; ``None`` where a model does not have the class."""

    @property
    def name(self) -> str: ...
    @property
    def baseline(self) -> float | None: ...
    @property
    def candidate(self) -> float | None: ...


def differs(row: TagRow) -> bool:
    """Whether a row is one to be marked: both models have the tag, and differ by ``MARKED_FROM`` or more."""
    if row.baseline is None or row.candidate is None:
        return False
    return round(abs(row.candidate - row.baseline), 6) >= MARKED_FROM


def mirrored_tags(
    rows: Sequence[TagRow], *, baseline: str, candidate: str, palette: Palette, threshold: float | None = None
) -> go.Figure:
    """Both models' probabilities as one chart about a common middle: baseline to the left, candidate to the right.

    Each row has its tag's name above its two bars, so that a name of any length is whole on a phone, and its values
    at the bars' ends. Rows that differ markedly stand on a band and show the difference.

    Parameters
    ----------
    rows : the tags in their order from the top.
    baseline, candidate : what the two models are called, for the hover text.
    threshold : a probability to be marked on both sides, or None.
    """
    places = list(range(len(rows)))
    hover = [_hover(row, baseline, candidate) for row in rows]
    figure = go.Figure()
    sides = (
        (-1, palette.baseline, [row.baseline for row in rows]),
        (1, palette.pruned, [row.candidate for row in rows]),
    )
    for sign, colour, values in sides:
        figure.add_bar(
            x=[sign * (value or 0.0) for value in values],
            y=[place + 0.17 for place in places],
            orientation="h",
            width=0.40,
            text=[
                "not a class of this model" if value is None else formats.probability(value)
                for value in values
            ],
            textposition="outside",
            textangle=0,
            textfont={"size": 12, "color": palette.ink},
            cliponaxis=False,
            marker={"color": colour, "line": {"width": 0}, "cornerradius": 3},
            hovertext=hover,
            hoverinfo="text",
            showlegend=False,
        )
    for place, row in zip(places, rows, strict=True):
        if differs(row):
            figure.add_shape(
                type="rect",
                xref="paper",
                x0=0,
                x1=1,
                y0=place - 0.47,
                y1=place + 0.47,
                **shape(fill=palette.band),
            )
        figure.add_annotation(
            x=0, y=place - 0.25, text=_name(row), showarrow=False, font={"size": 13, "color": palette.ink}
        )
    for mark in (-threshold, threshold) if threshold is not None else ():
        figure.add_shape(
            type="line",
            x0=mark,
            x1=mark,
            y0=-0.5,
            y1=len(rows) - 0.5,
            **shape(line=palette.hairline, dash="dot"),
        )
    for place in places:
        figure.add_shape(
            type="line", x0=0, x1=0, y0=place - 0.06, y1=place + 0.40, **shape(line=palette.quiet)
        )
    figure.update_layout(
        barmode="overlay",
        height=len(rows) * _ROW_PX + 52,
        margin={"l": 0, "r": 0, "t": 4, "b": 40, "pad": 0},
        dragmode=False,
        **plain(palette),
    )
    figure.update_xaxes(
        range=[-_REACH, _REACH],
        fixedrange=True,
        tickvals=[-1, -0.5, 0, 0.5, 1],
        ticktext=["1", "0.5", "0", "0.5", "1"],
        title={"text": "probability", "font": {"size": 12, "color": palette.quiet}, "standoff": 6},
        tickfont={"size": 12, "color": palette.quiet},
        showgrid=False,
        zeroline=False,
        showline=False,
        ticks="",
    )
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5], fixedrange=True, visible=False)
    return figure


def mirrored_alt(rows: Sequence[TagRow], *, baseline: str, candidate: str) -> str:
    """The mirrored chart in words, for those who do not see it."""
    told = "; ".join(f"{row.name} {_told(row.baseline)} and {_told(row.candidate)}" for row in rows)
    return f"Mirrored bars, probabilities by {baseline} and by {candidate}: {told}."


def clip_picture(picture: ClipPicture, *, palette: Palette) -> go.Figure:
    """Waveform over log-mel spectrogram on one time axis."""
    bins, (bands, columns) = len(picture.low), picture.levels.shape
    times = (np.arange(bins) + 0.5) * picture.duration_s / bins
    reach = max(picture.peak, 0.01)
    loudest = int(picture.levels.max())
    figure = go.Figure()
    edge = {
        "x": times.astype(np.float32),
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "yaxis": "y2",
    }
    figure.add_scatter(y=picture.low, line={"width": 0.8, "color": palette.wave}, **edge)
    figure.add_scatter(
        y=picture.high,
        line={"width": 0.8, "color": palette.wave},
        fill="tonexty",
        fillcolor=palette.wave,
        **edge,
    )
    figure.add_heatmap(
        z=picture.levels,
        x0=picture.duration_s / columns / 2,
        dx=picture.duration_s / columns,
        zmin=loudest - DYNAMIC_RANGE_DB,
        zmax=loudest,
        showscale=False,
        colorscale=[[step / (len(palette.ramp) - 1), colour] for step, colour in enumerate(palette.ramp)],
        hovertemplate="%{x:.2f} s · %{z} dB<extra></extra>",
    )
    figure.update_layout(
        height=_PICTURE_PX,
        margin={"l": 52, "r": 6, "t": 6, "b": 34, "pad": 0},
        dragmode=False,
        hovermode="closest",
        yaxis2={
            "domain": [0.72, 1.0],
            "range": [-reach * 1.05, reach * 1.05],
            "tickvals": [-reach, 0, reach],
            "ticktext": [formats.signed(-reach), "0", formats.probability(reach)],
            **axis(palette),
        },
        yaxis={
            "domain": [0.0, 0.66],
            "range": [-0.5, bands - 0.5],
            **frequency_ticks(),
            **axis(palette),
        },
        xaxis={
            "range": [0, picture.duration_s],
            "anchor": "y",
            "title": {"text": "time (s)", "font": {"size": 12, "color": palette.quiet}, "standoff": 4},
            "nticks": 8,
            **axis(palette),
        },
        **plain(palette),
    )
    return figure


def frequency_ticks() -> dict[str, list[float] | list[str]]:
    """Ticks in Hz for an axis that counts mel bands from 0."""
    bands = np.interp(_FREQUENCIES_HZ, mel_centres(), np.arange(len(mel_centres())))
    names = [
        f"{hz // 1000}{formats.NBSP}kHz" if hz >= 1000 else f"{hz}{formats.NBSP}Hz" for hz in _FREQUENCIES_HZ
    ]
    return {"tickvals": bands.tolist(), "ticktext": names}


def clip_alt(name: str, picture: ClipPicture) -> str:
    """The clip's picture in words."""
    return (
        f"Waveform and log-mel spectrogram of {name}: {formats.seconds(picture.duration_s)}, "
        f"peak {formats.probability(picture.peak)}."
    )


def _hover(row: TagRow, baseline: str, candidate: str) -> str:
    lines = [f"<b>{row.name}</b>", f"{baseline} {_told(row.baseline)}", f"{candidate} {_told(row.candidate)}"]
    if row.baseline is not None and row.candidate is not None:
        lines.append(f"difference {formats.signed(row.candidate - row.baseline)}")
    return "<br>".join(lines)


def _told(value: float | None) -> str:
    return "not a class of this model" if value is None else formats.probability(value)


def _name(row: TagRow) -> str:
    if not differs(row) or row.baseline is None or row.candidate is None:
        return row.name
    return f"<b>{row.name}  {formats.signed(row.candidate - row.baseline)}</b>"
