"""The Prune page's verdict on all of the visitor's recordings: a sentence, and a table with one row a recording."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.compare import Comparison
from core.comparisons import Comparisons
from core.errors import PannscopeError
from core.units import THRESHOLD
from core.verdict import summary
from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.widgets import clip_input, opening
from dashboard.widgets.download_buttons import comparison_downloads
from dashboard.widgets.slots import Slot

SENTENCE_PX = 78  # three lines
_ROWS_SHOWN = 6
_STOPPED = "recordings_stopped"


def readable(place: DeltaGenerator, *, try_new: bool) -> tuple[Source, ...]:
    """The visitor's recordings that can be decoded, after the inputs have been drawn; each is tried once a session.

    New ones only where ``try_new`` says so: a visitor who cancels a decoding sees an example, and it must not begin again.
    """
    known: dict[str, bool] = st.session_state.setdefault("readable_recordings", {})
    own = clip_input.own()
    for source in own:
        if try_new and source.key not in known:
            known[source.key] = _decodes(source, place)
    return tuple(source for source in own if known.get(source.key))


def frame(cut: Cut) -> Slot | None:
    """The place of the sentence and the table, in its final size; None where there are no recordings to compare."""
    if len(cut.recordings) < 2 or cut.source.example is not None:
        return None
    st.markdown(f"**On all {len(cut.recordings)} of your recordings**")
    return Slot("recordings", SENTENCE_PX + _table_px(len(cut.recordings)) + 70)


def verdicts(cut: Cut, slot: Slot) -> None:
    """Tag every recording with both networks, and draw the sentence and the table."""
    with slot.fill():
        with st.container(height=SENTENCE_PX, border=False):
            sentence = st.empty()
        compared, complaints = _compare(cut, sentence)
        if compared:
            _table(compared)
            comparison_downloads(
                [Comparisons.of(each) for _, each in compared], "pannscope-pruned-recordings"
            )
    if len(compared) + len(complaints) == len(cut.recordings):
        agreements = [each.agreement for _, each in compared]
        said = [f"**{summary(agreements, 'The pruned network', formats.escaped)}**"] if agreements else []
        sentence.markdown(" ".join([*said, *complaints]))


def _compare(cut: Cut, sentence: DeltaGenerator) -> tuple[list[tuple[Source, Comparison]], list[str]]:
    """The recordings that both networks have tagged, and a line for each that failed; progress in the place of the sentence."""
    server, key = get_server(), get_server().pruned_key(cut)
    stopped, total = st.session_state.get(_STOPPED) == key, len(cut.recordings)
    bar: DeltaGenerator | None = None
    compared: list[tuple[Source, Comparison]] = []
    complaints: list[str] = []
    for number, source in enumerate(cut.recordings):
        one = cut.on(source)
        if server.known_pruned_tags(one) is None or server.known_tags(source, cut.name) is None:
            text = f"Running both networks on your recordings: {number} of {total}"
            if stopped:
                with sentence.container(horizontal=True, vertical_alignment="center"):
                    st.button("Resume", key="resume_recordings", on_click=_stop, args=(None,))
                    st.caption(
                        f"Stopped after {number} of {formats.plural(total, 'recording')}.", width="content"
                    )
                break
            if bar is None:
                with sentence.container(horizontal=True, vertical_alignment="center"):
                    bar = st.empty()
                    st.button("Cancel", key="stop_recordings", on_click=_stop, args=(key,))
            bar.progress(number / total, text=text)
        try:
            compared.append((source, server.pruned_comparison(one)))
        except PannscopeError as error:
            complaints.append(formats.escaped(str(error)))
    return compared, complaints


def _stop(key: Hashable | None) -> None:
    """Stop at the next run of the cut with this key, or go on."""
    st.session_state[_STOPPED] = key


def _table(compared: Sequence[tuple[Source, Comparison]]) -> None:
    rows = []
    for source, comparison in compared:
        agreement = comparison.agreement
        rows.append(
            (
                source.name,
                *(
                    ", ".join(names) or formats.DASH
                    for names in (agreement.kept, agreement.lost, agreement.gained)
                ),
                agreement.max_abs_difference,
                agreement.max_difference_tag,
            )
        )
    text = st.column_config.TextColumn
    st.dataframe(
        pd.DataFrame(rows, columns=["Recording", "Kept", "Lost", "Gained", "Largest change", "Of"]),
        hide_index=True,
        height=_table_px(len(rows)),
        column_config={
            "Recording": text(pinned=True, width="medium"),
            "Kept": text(help=f"Tags that both networks give {formats.probability(THRESHOLD)} or more."),
            "Lost": text(
                help=f"Tags that only the unpruned network gives {formats.probability(THRESHOLD)} or more."
            ),
            "Gained": text(
                help=f"Tags that only the pruned network gives {formats.probability(THRESHOLD)} or more."
            ),
            "Largest change": st.column_config.NumberColumn(
                format="%.2f", width="small", help="The largest change of one tag's probability."
            ),
            "Of": text(help="The tag that changes most."),
        },
        alt="Tags kept, lost and gained on every recording",
    )


def _table_px(rows: int) -> int:
    return 38 + 35 * min(_ROWS_SHOWN, rows)


def _decodes(source: Source, place: DeltaGenerator) -> bool:
    try:
        opening.opened(source, place)
    except PannscopeError:
        return False  # the page has reported it where the recording was added
    return True
