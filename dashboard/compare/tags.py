"""Two networks' tags as mirrored bars, or each of more as a panel: those that count, and those that a visitor looks for by name."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.class_search import closest_classes, find_classes
from core.compare import MARKED_FROM, Comparison, Row
from core.comparisons import Comparisons
from core.ontology import Place, grouped, other_parents
from core.units import plural
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.mirrored_tags import is_marked, mirrored_tags, mirrored_tags_alt
from dashboard.compare import several
from dashboard.compare.settings import Settings
from dashboard.widgets import query_params, tables
from dashboard.widgets.theme import palette

MOST_FOUND = 8
"""Classes that a search shows: more letters show the others."""

OVER_TIME = "over_time"
"""Key of the session's state: whether the visitor asked for the timeline."""

_LONGEST = 40  # letters of a search, and of the address that holds it


def answer(comparison: Comparison, titles: tuple[str, str], settings: Settings) -> None:
    """The mirrored chart under the two names in their colours."""
    left, right = st.columns(2, gap="small", wrap=False)
    left.markdown(f":blue[**{titles[0]}**]", text_alignment="right")
    right.markdown(f":orange[**{titles[1]}**]")
    listed = tables.chart_rows(comparison, limit=settings.top_k, categories=settings.categories)
    if not listed:
        st.info(
            f"Neither network has a tag under {' or '.join(settings.categories)}. Choose other categories."
        )
        return
    _chart(listed, titles, settings, "mirrored_tags", _caption(comparison, listed, settings))


def found() -> tuple[int, ...]:
    """The indices of the classes that ``search`` shows."""
    indices: tuple[int, ...] = st.session_state.get("found", ())
    return indices


@st.fragment
def search(comparisons: Comparisons, titles: Sequence[str], settings: Settings) -> None:
    """A field for a few letters, and the classes whose names hold them, at most ``MOST_FOUND``; typing draws nothing else again."""
    shown = _search(comparisons, titles, settings)
    if shown != found():
        st.session_state["found"] = shown
        if st.session_state.get(OVER_TIME):
            st.rerun()  # the timeline has rows of its own for them


def _search(comparisons: Comparisons, titles: Sequence[str], settings: Settings) -> tuple[int, ...]:
    every = comparisons.rows()
    query_params.follow("find", lambda text: text[:_LONGEST] or None, "")
    text = st.text_input(
        "Find a class",
        key="find",
        type="search",
        live=True,
        max_chars=_LONGEST,
        icon=":material/search:",
        placeholder=f"A few letters of any of {plural(len(every), 'class', 'classes')}",
        persist_state="session",
    ).strip()
    query_params.keep("find", text, "")
    if not text:
        return ()
    names = [row.name for row in every]
    by_name = dict(zip(names, every, strict=True))
    having = [by_name[name] for name in find_classes(text, names)]
    if not having:
        close = closest_classes(text, names)
        hint = f" Close to it: {', '.join(close)}." if close else ""
        st.caption(formats.escaped(f"No class of these networks has “{text}” in its name.{hint}"))
        return ()
    shown = having[:MOST_FOUND]
    more = f" The first {len(shown)} are shown: more letters narrow it down." if having[MOST_FOUND:] else ""
    count = plural(len(having), "class has", "classes have")
    caption = formats.escaped(f"{count} “{text}” in the name.{more} Over time they have the first rows.")
    if len(titles) > 2:
        several.panels(shown, titles, settings, "found_tags")
        st.caption(caption)
    else:
        pair = [Row(row.index, row.name, *row.probabilities) for row in shown]
        _chart(pair, (titles[0], titles[1]), settings, "found_tags", caption)
    return tuple(row.index for row in shown)


def _chart(
    listed: Sequence[Row], titles: tuple[str, str], settings: Settings, key: str, caption: str
) -> None:
    places: list[Place] = []
    if settings.grouped:
        by_index = {row.index: row for row in listed}
        places = grouped(list(by_index))
        listed = [by_index[place.index] for place in places]
    first, second = titles
    st.plotly_chart(
        mirrored_tags(
            listed,
            baseline=first,
            candidate=second,
            palette=palette(),
            threshold=settings.threshold,
            places=places,
        ),
        config=CONFIG,
        key=key,
        alt=mirrored_tags_alt(
            listed, baseline=first, candidate=second, threshold=settings.threshold, places=places
        ),
    )
    others = [f"{row.name} ({', '.join(above)})" for row in listed if (above := other_parents(row.index))]
    if places and others:
        caption += formats.escaped(f" With other parents as well: {', '.join(others)}.")
    st.caption(caption)


def _caption(comparison: Comparison, listed: Sequence[Row], settings: Settings) -> str:
    threshold = settings.threshold
    parts = [f"Dotted lines: the threshold, {formats.probability(threshold)}; pale rows are below it."]
    if any(is_marked(row, threshold) for row in listed):
        parts.append(f"Shaded: lost, gained, or changed by {formats.probability(MARKED_FROM)} or more.")
    every = tables.shown_rows(comparison, categories=settings.categories)
    hidden = sum(row.change(threshold) != "below" for row in every[len(listed) :])
    if hidden:
        parts.append(f"{formats.plural(hidden, 'more tag')} at the threshold: under *All tags*.")
    if settings.categories:
        parts.append(f"Shown: {', '.join(settings.categories)}; the agreement is over all tags.")
    return " ".join(parts)
