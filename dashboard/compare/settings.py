"""The settings of the Compare page; all are part of the page's address, so that a copied link restores them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.classes import CATEGORIES
from core.ontology import has_audioset_classes
from core.units import THRESHOLD
from dashboard.server.models import class_names
from dashboard.widgets import pair_select, query_params
from dashboard.widgets.threshold import choose_threshold

TOP_K = 10

_MOST_TAGS = 20


@dataclass(frozen=True)
class Settings:
    """What to compare and what to show.

    Attributes
    ----------
    baseline, candidate : names of the two models.
    top_k : tags that are drawn at most; the downloads compare as many of both networks' first tags.
    threshold : probability from which a clip counts as having a tag.
    categories : AudioSet's top-level categories to show; empty for all.
    grouped : whether tags stand below their parents in AudioSet's ontology.
    also : names of a third and a fourth model.
    """

    baseline: str
    candidate: str
    top_k: int = TOP_K
    threshold: float = THRESHOLD
    categories: tuple[str, ...] = ()
    grouped: bool = False
    also: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, str]:
        """Baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def networks(self) -> tuple[str, ...]:
        """All two to four."""
        return (*self.models, *self.also)


def choose() -> Settings:
    """Draw the widgets and read them."""
    baseline, candidate = pair_select.choose_pair(others=True)
    also = pair_select.choose_others((baseline, candidate))
    query_params.follow("top_k", query_params.whole(1, _MOST_TAGS), TOP_K)
    top_k = st.slider(
        "Tags to show, at most",
        1,
        _MOST_TAGS,
        key="top_k",
        persist_state="session",
        help="The chart shows the tags at the threshold in either network, and up to three below it.",
    )
    query_params.keep("top_k", top_k, TOP_K)
    threshold = choose_threshold(
        "threshold",
        "From this probability on, a clip counts as having a tag. It decides which tags are kept, lost and gained.",
    )
    every: list[str] = []
    query_params.follow("categories", _read_categories, every)
    categories = st.multiselect(
        "Show only",
        CATEGORIES,
        key="categories",
        persist_state="session",
        placeholder="All categories",
        help="AudioSet's top-level categories. This narrows what is shown; the agreement is over all tags.",
    )
    query_params.keep("categories", ",".join(categories), "")
    grouped = False
    if has_audioset_classes(class_names(baseline) | class_names(candidate)):
        query_params.follow("group", {"true": True}.get, False)
        grouped = st.toggle(
            "Group by AudioSet's ontology",
            key="group",
            persist_state="session",
            help="Children stand below their parents, under the names of the groups that are no classes themselves. A class "
            "with several parents stands under the first one.",
        )
        query_params.keep("group", "true" if grouped else "", "")
    st.caption("The page's address holds these settings: copy it to share them.")
    return Settings(baseline, candidate, int(top_k), float(threshold), tuple(categories), grouped, also)


def _read_categories(text: str) -> list[str] | None:
    """The categories of an address: separated by commas, which one of the names has, too."""
    return [name for name in CATEGORIES if name in text] or None
