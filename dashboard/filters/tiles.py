"""Filters as small kernels on a page of tiles, drawn as one chart that can be clicked.

A tile is one filter (its largest kernels) or one kernel. Its colour says whether the filter is kept; within it, lighter is a
positive weight and darker a negative one, each filter on its own scale. Two heat maps and one set of transparent bars draw a
whole page, however many filters a layer has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard.charts.layout import TRANSPARENT, base_layout
from dashboard.charts.palette import Palette, mixed

_INNER_GAP = 0.4  # between a tile's kernels, in weights
_TILE_GAP = 1.8
_LABEL_GAP = 3.2  # above every row of tiles, room for their names


@dataclass(frozen=True, eq=False)
class Tile:
    """One tile.

    Attributes
    ----------
    kernels : (kernels, height, width), at least one.
    name : the label above it.
    hover : text on hover.
    kept, selected : whether its filter is kept, and whether it is the selected one.
    """

    kernels: np.ndarray
    name: str
    hover: str
    kept: bool
    selected: bool = False


def tile_page(tiles: Sequence[Tile], *, columns: int, palette: Palette, width_px: int) -> go.Figure:
    """One or more tiles in rows of ``columns``; weights are about square at a width of ``width_px``."""
    across = 2 if max(len(tile.kernels) for tile in tiles) > 1 else 1
    down = -(-max(len(tile.kernels) for tile in tiles) // across)
    height, width = tiles[0].kernels.shape[1:]
    rows = -(-len(tiles) // columns)
    x_edges, x_starts, tile_width = _edges(columns, across, width, first_gap=_TILE_GAP / 2, gap=_TILE_GAP)
    y_edges, y_starts, tile_height = _edges(rows, down, height, first_gap=_LABEL_GAP, gap=_LABEL_GAP + 0.4)
    total_width, total_height = float(x_edges[-1]), float(y_edges[-1])
    canvases = [np.full((len(y_edges) - 1, len(x_edges) - 1), np.nan, np.float32) for _ in range(2)]
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _paint(canvases[0 if tile.kept else 1], tile, row, column, grid=(down, across), size=(height, width))
    figure = go.Figure()
    for canvas, scale in zip(canvases, scales(palette), strict=True):
        if not np.isnan(canvas).all():
            figure.add_heatmap(
                z=canvas,
                x=x_edges,
                y=y_edges,
                zmin=-1,
                zmax=1,
                colorscale=scale,
                showscale=False,
                hoverinfo="skip",
            )
    cells = [divmod(number, columns) for number in range(len(tiles))]
    middles = [x_starts[column] + tile_width / 2 for _, column in cells]
    tops = [y_starts[row] for row, _ in cells]
    figure.add_bar(
        x=middles,
        base=[top - 0.45 for top in tops],
        y=[tile_height + 0.9] * len(tiles),
        width=tile_width + 0.9,
        marker={
            "color": TRANSPARENT,
            "cornerradius": 3,
            "line": {
                "color": [
                    palette.ink if tile.selected else palette.pruned if tile.kept else palette.removed
                    for tile in tiles
                ],
                "width": [2.5 if tile.selected else 1 for tile in tiles],
            },
        },
        hovertext=[tile.hover for tile in tiles],
        hoverinfo="text",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        showlegend=False,
    )
    figure.update_layout(
        height=max(60, round(total_height * width_px / total_width)),
        margin={"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
        clickmode="event+select",
        hovermode="closest",
        barmode="overlay",
        # All at once: adding one by one, plotly validates the earlier ones again each time, 0.15 s for a page.
        annotations=[
            {
                "x": middle,
                "y": top - 0.5,
                "yanchor": "bottom",
                "text": f"<b>{tile.name}</b>" if tile.selected else tile.name,
                "showarrow": False,
                "font": {"size": 11, "color": palette.ink if tile.selected else palette.quiet},
            }
            for tile, middle, top in zip(tiles, middles, tops, strict=True)
        ],
        **base_layout(palette),
    )
    figure.update_xaxes(range=[0, total_width], fixedrange=True, visible=False)
    figure.update_yaxes(range=[total_height, 0], fixedrange=True, visible=False)
    return figure


def scales(palette: Palette) -> tuple[list[list[object]], list[list[object]]]:
    """Colour scales of the weights of kept and of removed filters: dark is negative, the palette's colour 0, light positive."""
    return _scale(palette.pruned), _scale(palette.removed)


def _scale(color: str) -> list[list[object]]:
    return [[0.0, mixed(color, "#000000", 0.80)], [0.5, color], [1.0, mixed(color, "#FFFFFF", 0.88)]]


def _edges(
    tiles: int, kernels: int, weights: int, *, first_gap: float, gap: float
) -> tuple[np.ndarray, list[float], float]:
    """Edges of all cells along one axis, the start of each tile, and the length of a tile."""
    tile = ([1.0] * weights + [_INNER_GAP]) * kernels
    steps = [first_gap]
    for number in range(tiles):
        steps += [*tile[:-1], gap if number < tiles - 1 else _TILE_GAP / 2]
    length = sum(tile[:-1])
    edges = np.concatenate([[0.0], np.cumsum(steps)])
    return edges, [first_gap + number * (length + gap) for number in range(tiles)], length


def _paint(
    canvas: np.ndarray, tile: Tile, row: int, column: int, *, grid: tuple[int, int], size: tuple[int, int]
) -> None:
    """Write a tile's weights, divided by the largest of them, into its cells."""
    (down, across), (height, width) = grid, size
    largest = float(np.abs(tile.kernels).max()) or 1.0
    for number, kernel in enumerate(tile.kernels):
        at_row, at_column = divmod(number, across)
        top = 1 + row * down * (height + 1) + at_row * (height + 1)
        left = 1 + column * across * (width + 1) + at_column * (width + 1)
        canvas[top : top + height, left : left + width] = kernel / largest
