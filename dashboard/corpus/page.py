"""Corpus: what networks recognised in a data set that ``pannscope batch`` has written, and where two of them differ."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import settings
from core.batch.query import BOTH, EITHER, FIRST, MEMORY, SECOND, SHOWN, Pair, Question, Row
from core.errors import PannscopeError
from dashboard import formats
from dashboard.corpus import energy
from dashboard.corpus.opened import is_local
from dashboard.server.corpora import DataSet
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import query_params
from dashboard.widgets.threshold import choose_threshold

# Both networks' tags show without scrolling, from a window of 1024 px on; there the labels stand below.
_ROWS_PX, _CLIP_PX, _TAGS_PX = 840, 190, 260

_ABOUT = f"""
The data set is a folder that `pannscope batch RECORDINGS --out FOLDER -m ONE -m ANOTHER` has written. Its rows are clips, or windows of clips, with the likeliest tags of
each network (`--top`, five unless it says otherwise); a class that a network does not list counts as not given.

**Difference** is the largest difference between the two networks' probabilities of one class that either lists; with a class chosen above, of that class. Where a network
lists another five, its probability is known to be no higher than the last one's, so that the difference is at least what is shown.

The folder is read by DuckDB with at most {MEMORY} of memory, and can be neither changed nor left from here. Clips are played where their files are on this machine, below
the folder that was tagged.
"""


def page() -> None:
    """The folder, the filters, the rows and the labels."""
    st.title("Look through a corpus", anchor=False)
    folder = settings.corpus() or _field()
    if folder:
        try:
            with st.spinner("Reading the data set"):
                corpus = get_server().corpora.data_set(folder)
            _corpus(corpus)
        except PannscopeError as error:
            st.error(formats.escaped(str(error)), icon=":material/error:")
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _field() -> str:
    """The folder that a visitor names, where that is allowed; else what to do."""
    if not is_local():
        st.info(
            "No data set is open. The operator of this server names one in the environment variable PANNSCOPE_CORPUS."
        )
        return ""
    folder = st.text_input(
        "Folder of a data set",
        key="corpus_folder",
        persist_state="session",
        placeholder="rows, as in: pannscope batch recordings --out rows",
    ).strip()
    if not folder:
        st.info("Tag a corpus with pannscope batch, and give the folder that it wrote.")
    return folder


def _corpus(corpus: DataSet) -> None:
    pair, question = _filters(corpus)
    total = corpus.count(pair)
    count, rows = corpus.rows(pair, question)
    st.header(_headline(pair, question, count, total), anchor=False)
    beside = st.container(horizontal=True, gap="medium")
    with beside.container(width=_ROWS_PX):
        row = _rows(pair, rows, question)
        if rows:
            shown = f"The first {SHOWN} of {formats.whole(count)}. " if count > len(rows) else ""
            st.caption(f"{shown}A chosen row's clip is played here.")
        if row is not None:
            _play(corpus, row)
    with beside.container():
        _labels(corpus, pair, question.threshold)
    energy.section(corpus)


def _filters(corpus: DataSet) -> tuple[Pair, Question]:
    names = corpus.models
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        first = st.selectbox("Network", names, key="corpus_first")
        second = st.selectbox("Compared with", names, index=min(1, len(names) - 1), key="corpus_second")
        threshold = choose_threshold(
            "threshold", "From this probability on, a network gives a clip the class."
        )
    pair = (first, second)
    with st.spinner("Reading the rows of both networks"):
        classes = [tag for tag, _, _ in corpus.labels(pair, threshold)]
    query_params.follow("class", {name: name for name in classes}.get, None)
    if st.session_state["class"] not in (None, *classes):
        st.session_state["class"] = None  # of another data set, or below the threshold
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        label = st.selectbox(
            "Class", classes, index=None, key="class", placeholder="Any class", persist_state="session"
        )
        query_params.keep("class", label or "", "")
        given_by = st.selectbox(
            "Given by",
            (EITHER, BOTH, FIRST, SECOND),
            key="corpus_given_by",
            format_func={
                EITHER: "either network",
                BOTH: "both networks",
                FIRST: f"{first} alone",
                SECOND: f"{second} alone",
            }.__getitem__,
        )
        order = st.selectbox("Sorted by", ("difference", "name"), key="corpus_order")
    return pair, Question(label, threshold, given_by, by_name=order == "name")


def _headline(pair: Pair, question: Question, count: int, total: int) -> str:
    what = formats.escaped(question.label) if question.label else "a class"
    first, second = map(formats.escaped, pair)
    by = {
        EITHER: "either network gives" if first != second else f"{first} gives",
        BOTH: "both networks give",
        FIRST: f"only {first} gives",
        SECOND: f"only {second} gives",
    }[question.given_by]
    rows = "row" if total == 1 else "rows"
    return f"Of {formats.whole(total)} {rows}, {by} {formats.whole(count)} {what}"


def _rows(pair: Pair, rows: list[Row], question: Question) -> Row | None:
    """The table of rows; the one that is chosen."""
    if not rows:
        st.info("No row has what the filters ask for; lower the threshold, or choose another class.")
        return None
    windows = any(row.start_s for row in rows)
    columns: dict[str, list[object]] = {
        "Difference": [row.difference for row in rows],
        "Clip": [row.clip for row in rows],
    }
    if windows:
        columns["From (s)"] = [row.start_s for row in rows]
    columns[pair[0]] = [_tags(row.first, question.threshold) for row in rows]
    if pair[1] != pair[0]:
        columns[pair[1]] = [_tags(row.second, question.threshold) for row in rows]
    event = st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        width="stretch",
        key="corpus_rows",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Difference": st.column_config.NumberColumn(format="%.2f", width="small"),
            "From (s)": st.column_config.NumberColumn(format="%.1f", width="small"),
            "Clip": st.column_config.TextColumn(width=_CLIP_PX),
            **{name: st.column_config.TextColumn(width=_TAGS_PX) for name in pair},
        },
    )
    chosen = event["selection"]["rows"]
    return rows[chosen[0]] if chosen and chosen[0] < len(rows) else None


def _tags(listed: tuple[tuple[str, float], ...], threshold: float) -> str:
    return (
        " · ".join(f"{tag} {formats.probability(p)}" for tag, p in listed if p >= threshold) or formats.DASH
    )


def _play(corpus: DataSet, row: Row) -> None:
    file = corpus.recording(row.path)
    if file is None:
        st.caption(
            f"{formats.escaped(row.clip)} cannot be played: its file is not on this machine, or not below the folder that was tagged."
        )
        return
    try:
        opened = get_server().clip(Source.of_bytes(file.name, file.read_bytes()))
    except (PannscopeError, OSError) as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
        return
    st.markdown(f"**{formats.escaped(row.clip)}** :small[:gray[{formats.seconds(opened.clip.duration_s)}]]")
    st.audio(opened.sound, format=opened.sound_type, start_time=row.start_s, alt=f"Player of {file.name}")


def _labels(corpus: DataSet, pair: Pair, threshold: float) -> None:
    """Every class with the rows to which each network gives it."""
    counted = corpus.labels(pair, threshold)
    columns: dict[str, list[object]] = {
        "Class": [tag for tag, _, _ in counted],
        pair[0]: [first for _, first, _ in counted],
    }
    if pair[1] != pair[0]:
        columns[pair[1]] = [second for _, _, second in counted]
        columns["Change"] = [second - first for _, first, second in counted]
    st.dataframe(pd.DataFrame(columns), hide_index=True, width="stretch", key="corpus_labels")
    st.caption(
        f"Rows to which each network gives a class at {formats.probability(threshold)}, the most frequent first."
    )


page()
