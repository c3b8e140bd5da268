"""The choice of two networks, shared by the pages that compare them: in the page's address, and kept from page to page."""

from __future__ import annotations

import streamlit as st

from core.tagging import default_pair
from dashboard.widgets import own_checkpoint, query_params

_WAITING = "pair_to_show"


def use_pair(baseline: str, candidate: str) -> None:
    """Ask the next run to show these two models."""
    st.session_state[_WAITING] = (baseline, candidate)


def pair_is_waiting() -> bool:
    """Whether two models were asked for that the page does not show yet."""
    return _WAITING in st.session_state


def choose_pair(*, others: bool) -> tuple[str, str]:
    """Draw the choices of baseline and candidate, and the upload of an own one; return the chosen ones' names.

    ``others`` says whether the page calls ``choose_others`` as well.
    """
    selects = st.container()
    places: list[own_checkpoint.Place] = ["candidate", "baseline"]
    own_checkpoint.upload(
        st.expander("Your own checkpoint", icon=":material/upload:"), places + ["also"] * others
    )
    titles = own_checkpoint.choices()
    names = list(titles)
    pair = st.session_state.pop(_WAITING, None)
    if pair and all(name in names for name in pair):
        st.session_state["baseline"], st.session_state["candidate"] = pair
    first = tuple(name if name in names else names[0] for name in default_pair())

    def select(label: str, key: str, default: str, help_text: str) -> str:
        query_params.follow(key, query_params.named(titles), default)
        if st.session_state[key] not in titles:
            st.session_state[key] = default  # an own one that was removed
        chosen = selects.selectbox(
            label,
            names,
            format_func=lambda name: titles.get(name, name),
            key=key,
            persist_state="session",
            help=help_text,
        )
        query_params.keep(key, chosen, default)
        return chosen

    return (
        select(
            "Baseline",
            "baseline",
            first[0],
            "Drawn to the left, in blue: the network that the other one is compared with.",
        ),
        select(
            "Candidate",
            "candidate",
            first[1],
            "Drawn to the right, in orange: the network that is compared with the baseline, pruned or any other.",
        ),
    )


def choose_others(pair: tuple[str, str]) -> tuple[str, ...]:
    """Draw the choice of a third and fourth network, of those that are not in the pair; return their names."""
    titles = {name: title for name, title in own_checkpoint.choices().items() if name not in pair}
    none: list[str] = []
    query_params.follow("also", lambda text: [name for name in text.split(",") if name in titles], none)
    # without those that were removed, or are in the pair now
    st.session_state["also"] = [name for name in st.session_state["also"] if name in titles][
        : own_checkpoint.OTHERS
    ]
    chosen = st.multiselect(
        "And also",
        list(titles),
        format_func=lambda name: titles.get(name, name),
        key="also",
        max_selections=own_checkpoint.OTHERS,
        persist_state="session",
        placeholder="A third and fourth network",
        help="With more than two, each network has a panel of its own with the same rows, and every two are compared.",
    )
    query_params.keep("also", ",".join(chosen), "")
    return tuple(chosen)
