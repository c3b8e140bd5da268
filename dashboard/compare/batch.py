"""Comparing several recordings one after the other, and the table of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.audio import StreamedClip
from core.compare import Comparison
from core.errors import PannscopeError
from core.tags import Tags
from core.units import beside_threshold
from core.verdict import summary
from dashboard import formats
from dashboard.compare.settings import Settings
from dashboard.server.clips import OpenedClip
from dashboard.server.own_networks import title
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.time_left import TimeLeft
from dashboard.widgets import opening

_FIRST_PX = 420  # of the first result's verdict and chart


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result for one recording: opened and compared, or an error message, or neither where the work was stopped.

    ``long`` is a recording whose picture and rows are not there yet.
    """

    source: Source
    opened: OpenedClip | None = None
    comparison: Comparison | None = None
    error: str | None = None
    long: StreamedClip | None = None

    @property
    def done(self) -> bool:
        """Whether it was worked on, with success or not."""
        return (self.opened or self.error or self.long) is not None


def titles(settings: Settings) -> tuple[str, str]:
    """The two models' names for people."""
    first, second = (title(name) for name in settings.models)
    return first, second


def compare_all(sources: Sequence[Source], settings: Settings) -> list[Outcome]:
    """Compare the networks on every recording; one that fails does not stop the others. Shows progress and a button to stop."""
    identity = "|".join(source.key for source in sources)
    stopped = st.session_state.get("stopped") == identity
    place, waiting, time_left = st.empty(), st.empty(), TimeLeft()
    outcomes = []
    for number, source in enumerate(sources):
        if not get_server().has_tags(source, settings.models):
            if stopped:
                outcomes.append(Outcome(source))
                continue
            time_left.update(number, len(sources))
            if len(sources) > 1:
                with place.container(horizontal=True, vertical_alignment="center"):
                    _progress(number, sources, identity, time_left.seconds())
            elif (
                "compared" not in st.session_state
            ):  # later the last result stays in its place, pale, until the next is there
                place.skeleton(height=_FIRST_PX)
        outcomes.append(_compare(source, settings, waiting))
    place.empty()
    st.session_state["compared"] = True
    left = sum(not outcome.done for outcome in outcomes)
    if left:
        with place.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Stopped; {formats.plural(left, 'clip')} not done.", width="content")
            st.button("Resume", key="resume", on_click=lambda: st.session_state.pop("stopped", None))
    return outcomes


def table(outcomes: Sequence[Outcome], settings: Settings) -> Outcome:
    """Draw a sortable table, one row a clip; return the clip to show: the selected row's, or the first that succeeded."""
    names = titles(settings)
    first = next((i for i, outcome in enumerate(outcomes) if outcome.comparison), 0)
    st.markdown(f"**{formats.plural(len(outcomes), 'clip')}** :small[:gray[Select a row to open it.]]")
    compared = [each.comparison for each in outcomes if each.comparison and not each.comparison.clip.silent]
    if compared:
        st.markdown(summary([each.agreement for each in compared], names[1], formats.escaped))
    event = st.dataframe(
        frame(outcomes, names),
        hide_index=True,
        height=min(38 + 35 * len(outcomes), 300),
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [first]}},
        key="clips_" + str(abs(hash(tuple(outcome.source.key for outcome in outcomes)))),
        column_config={
            "Clip": st.column_config.TextColumn(pinned=True, width="medium"),
            "Length": st.column_config.NumberColumn(format="%.1f s", width="small"),
            "Kept": st.column_config.NumberColumn(
                format="percent",
                width="small",
                help=f"Of the tags with {formats.probability(settings.threshold)} or more in either network, those that both have.",
            ),
            "Lost": st.column_config.TextColumn(help=f"Tags that only {names[0]} has."),
            "Gained": st.column_config.TextColumn(help=f"Tags that only {names[1]} has."),
            "Divergence": st.column_config.NumberColumn(
                format="%.3f", width="small", help="Of all probabilities, in nats; 0 means identical outputs."
            ),
            "Remark": st.column_config.TextColumn(width="large"),
        },
        placeholder=formats.DASH,
        alt="One row for each clip; select a row to open it",
    )
    failures = [outcome.error for outcome in outcomes if outcome.error]
    if failures:
        st.error("\n\n".join(formats.escaped(failure) for failure in failures), icon=":material/error:")
    rows = event["selection"]["rows"]
    chosen = rows[0] if rows and rows[0] < len(outcomes) else first
    return outcomes[chosen]


def message(error: PannscopeError, names: Sequence[str]) -> str:
    """An error for people: without folders, and with the networks' titles."""
    said = formats.without_folders(str(error))
    for name in names:
        said = said.replace(name, title(name))
    return said


def frame(outcomes: Sequence[Outcome], names: tuple[str, str]) -> pd.DataFrame:
    """The table's data."""
    return pd.DataFrame([_row(outcome, names) for outcome in outcomes])


def _row(outcome: Outcome, names: tuple[str, str]) -> dict[str, object]:
    result, clip = outcome.comparison, outcome.opened.clip if outcome.opened else outcome.long
    remark = "Select it for its tags over time." if outcome.long else "" if result else "Not done."
    columns = names if names[0] != names[1] else (f"{names[0]} (left)", f"{names[1]} (right)")
    notes = [*clip.notes, *result.baseline.notes] if clip and result else []
    measured = result.agreement if result and not result.clip.silent else None
    return {
        "Clip": outcome.source.name,
        "Length": clip.duration_s if clip else None,
        columns[0]: _first(result.baseline, measured.threshold) if result and measured else None,
        columns[1]: _first(result.candidate, measured.threshold) if result and measured else None,
        "Kept": measured.kept_share if measured else None,
        "Lost": " · ".join(measured.lost) if measured else None,
        "Gained": " · ".join(measured.gained) if measured else None,
        "Divergence": measured.divergence if measured else None,
        "Remark": outcome.error or " ".join(notes) or remark,
    }


def _first(tags: Tags, threshold: float) -> str:
    first = tags.top(1)[0]
    return f"{first.name} {beside_threshold(first.probability, threshold)}"


def _compare(source: Source, settings: Settings, waiting: DeltaGenerator) -> Outcome:
    opened: OpenedClip | None = None
    try:
        shown = opening.Progress(source, waiting)
        long = get_server().long_clip(source, shown.on_wait, shown.on_share)
        if long is not None:
            return _long(source, long, settings)
        opened = get_server().clip(source, shown.on_wait, shown.on_share)
        result = get_server().comparison(
            source,
            settings.models,
            top_k=settings.top_k,
            threshold=settings.threshold,
            on_wait=shown.on_wait,
            on_share=shown.on_share,
        )
    except PannscopeError as error:
        return Outcome(source, opened, error=message(error, settings.models))
    finally:
        waiting.empty()
    return Outcome(source, opened, result)


def _long(source: Source, clip: StreamedClip, settings: Settings) -> Outcome:
    """A long recording: compared once jobs have drawn and tagged all of it, which nothing waits for here."""
    long = get_server().long_recordings
    opened, pair = long.opened(source, clip), long.timelines.known(source, settings.models)
    if opened is None or pair is None or not pair.complete:
        return Outcome(source, long=clip)
    result = long.comparison(clip, pair, top_k=settings.top_k, threshold=settings.threshold)
    return Outcome(source, opened, result)


def _progress(number: int, sources: Sequence[Source], identity: str, left_s: float | None) -> None:
    doing = f"{number + 1} of {len(sources)}: {formats.escaped(sources[number].name)}"
    st.progress(number / len(sources), text=formats.progress(doing, left_s))
    st.button("Stop", key=f"stop_{number}", on_click=lambda: st.session_state.update(stopped=identity))
