"""Three or four networks: which ones, a panel of bars for each, and how far every two of them agree."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.compare import Comparison
from core.comparisons import ClassRow, Comparisons, compare_every_two
from core.errors import PannscopeError
from core.ontology import Place, grouped
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.tag_panels import tag_panel, tag_panel_alt
from dashboard.compare import batch
from dashboard.compare.settings import Settings
from dashboard.server.own_networks import title
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import opening, tables
from dashboard.widgets.theme import palette

_COLORS = ("blue", "orange", "green", "violet")


def compare_others(source: Source, comparison: Comparison, settings: Settings) -> Comparisons | None:
    """Run the further networks on the clip and compare every two; None where there are none, or one fails, which is said."""
    if not settings.also:
        return None
    waiting = st.empty()
    shown = opening.Progress(source, waiting, key="cancel_others")
    try:
        others = [get_server().tags(source, name, shown.on_wait, shown.on_share) for name in settings.also]
        return compare_every_two(
            comparison.clip,
            [comparison.baseline, comparison.candidate, *others],
            top_k=settings.top_k,
            threshold=settings.threshold,
        )
    except PannscopeError as error:
        st.error(
            formats.escaped(batch.message(error, (*settings.models, *settings.also))),
            icon=":material/error:",
        )
        return None
    finally:
        waiting.empty()


def answer(result: Comparisons, settings: Settings) -> None:
    """A panel a network, all with the same rows, and the table of every two."""
    titles = [title(name) for name in (*settings.models, *settings.also)]
    every = [row for row in result.rows() if tables.in_categories(row.index, settings.categories)]
    counted = sum(row.largest >= settings.threshold for row in every)
    listed = every[: min(settings.top_k, counted + tables.BELOW)]
    if not listed:
        st.info(f"No network has a tag under {' or '.join(settings.categories)}. Choose other categories.")
    else:
        _panels(listed, titles, settings)
        parts = [
            f"The same tags on the same rows. Dotted lines: the threshold, {formats.probability(settings.threshold)}; pale bars are below it.",
            f"The sentence above and what follows the table are of {titles[0]} and {titles[1]}.",
        ]
        if counted > len(listed):
            parts.insert(1, f"{formats.plural(counted - len(listed), 'more tag')} at the threshold.")
        if settings.categories:
            parts.append(f"Shown: {', '.join(settings.categories)}; the agreement is over all tags.")
        st.caption(" ".join(parts))
    _every_two(result, titles)


def _panels(listed: list[ClassRow], titles: list[str], settings: Settings) -> None:
    places: list[Place] = []
    if settings.grouped:
        by_index = {row.index: row for row in listed}
        places = grouped(list(by_index))
        listed = [by_index[place.index] for place in places]
    # Beside each other on a wide page, one under the other on a phone.
    for number, (column, name) in enumerate(zip(st.columns(len(titles), gap="small"), titles, strict=True)):
        column.markdown(f":{_COLORS[number]}[**{formats.escaped(name)}**]")
        column.plotly_chart(
            tag_panel(listed, number, palette=palette(), threshold=settings.threshold, places=places),
            config=CONFIG,
            key=f"tag_panel_{number}",
            alt=tag_panel_alt(listed, number, title=name, threshold=settings.threshold),
        )


def _every_two(result: Comparisons, titles: list[str]) -> None:
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
            "Largest difference": number(format="%.2f", width="small"),
            "At": text(help="The class that differs most."),
            "Classes": number(width="small", help="Classes that both have: the agreement is over these."),
        },
        placeholder=formats.DASH,
        alt="Agreement of every two networks, one row for each pair",
    )
