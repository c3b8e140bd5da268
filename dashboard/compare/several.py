"""Three or four networks: a panel of bars for each, and how far every two of them agree."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core import verdict
from core.comparisons import ClassRow, Comparisons
from core.ontology import Place, grouped
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.tag_panels import tag_panel, tag_panel_alt
from dashboard.compare.settings import Settings
from dashboard.widgets import tables
from dashboard.widgets.theme import NETWORK_COLORS, palette


def answer(result: Comparisons, titles: Sequence[str], settings: Settings) -> None:
    """The third and fourth network beside the first in a sentence each, a panel a network, all with the same rows."""
    if not result.clip.silent:
        lines = [
            f"**{formats.escaped(f'{titles[0]} and {name}')}**: {verdict.headline(pair, titles[0], name, formats.escaped)}."
            for pair, name in zip(result.of_baseline[1:], titles[2:], strict=True)
        ]
        st.markdown("  \n".join(lines))
    every = [row for row in result.rows() if tables.in_categories(row.index, settings.categories)]
    counted = sum(row.largest >= settings.threshold for row in every)
    listed = every[: min(settings.top_k, counted + tables.BELOW)]
    if not listed:
        st.info(f"No network has a tag under {' or '.join(settings.categories)}. Choose other categories.")
    else:
        panels(listed, titles, settings, "tag_panel")
        parts = [
            f"The same tags on the same rows. Dotted lines: the threshold, {formats.probability(settings.threshold)}; pale bars are below it.",
            f"The heading is of {titles[0]} and {titles[1]}.",
        ]
        if counted > len(listed):
            parts.insert(1, f"{formats.plural(counted - len(listed), 'more tag')} at the threshold.")
        if settings.categories:
            parts.append(f"Shown: {', '.join(settings.categories)}; the agreement is over all tags.")
        st.caption(" ".join(parts))


def panels(listed: list[ClassRow], titles: Sequence[str], settings: Settings, key: str) -> None:
    """A panel a network, all with these rows."""
    places: list[Place] = []
    if settings.grouped:
        by_index = {row.index: row for row in listed}
        places = grouped(list(by_index))
        listed = [by_index[place.index] for place in places]
    # Beside each other on a wide page, one under the other on a phone.
    for number, (column, name) in enumerate(zip(st.columns(len(titles), gap="small"), titles, strict=True)):
        column.markdown(f":{NETWORK_COLORS[number]}[**{formats.escaped(name)}**]")
        column.plotly_chart(
            tag_panel(listed, number, palette=palette(), threshold=settings.threshold, places=places),
            config=CONFIG,
            key=f"{key}_{number}",
            alt=tag_panel_alt(listed, number, title=name, threshold=settings.threshold),
        )


def every_two(result: Comparisons, titles: Sequence[str]) -> None:
    """The table of every two networks' agreement."""
    threshold = formats.probability(result.first.agreement.threshold)
    pairs = [(a, b) for a in range(len(titles)) for b in range(a + 1, len(titles))]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.markdown("**How far every two agree**")
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Networks": f"{titles[a]} and {titles[b]}",
                    "Kept": pair.agreement.kept_share,
                    "Divergence": pair.agreement.divergence,
                    "Largest difference": pair.agreement.max_abs_difference,
                    "At": pair.agreement.max_difference_tag,
                    "Classes": pair.agreement.shared_classes,
                }
                for (a, b), pair in zip(pairs, result.pairs, strict=True)
            ]
        ),
        hide_index=True,
        column_config={
            "Networks": text(pinned=True, width=230),
            "Kept": number(
                format="percent",
                width="small",
                help=f"Of the tags with {threshold} or more in either network, those that both have. A dash where there is none.",
            ),
            "Divergence": number(
                format="%.3f", width="small", help="Of all probabilities, in nats; 0 means identical outputs."
            ),
            "Largest difference": number(format="%.2f", width=130),
            "At": text(help="The class that differs most."),
            "Classes": number(width="small", help="Classes that both have: the agreement is over these."),
        },
        placeholder=formats.DASH,
        alt="Agreement of every two networks, one row for each pair",
    )
