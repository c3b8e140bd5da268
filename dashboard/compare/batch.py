"""Comparing several recordings one after the other, and the table of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.audio import StreamedClip, UncheckedClip
from core.compare import Agreement
from core.comparisons import Comparisons
from core.errors import AudioError, PannscopeError
from core.tags import Tags
from core.units import beside_threshold
from core.verdict import summary
from dashboard import formats
from dashboard.compare.settings import Settings
from dashboard.server.clips import OpenedClip
from dashboard.server.own_networks import title, titles
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.time_left import TimeLeft
from dashboard.widgets import opening

_FIRST_PX = 420  # of the first result's verdict and chart


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result for one recording: opened and compared, or an error message, or neither where the work was stopped.

    ``long`` is a recording whose picture and rows are not there yet; ``left_out`` are the third and fourth networks that could not be
    compared, with what is said about it.
    """

    source: Source
    opened: OpenedClip | None = None
    comparisons: Comparisons | None = None
    error: str | None = None
    long: StreamedClip | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it was worked on, with success or not."""
        return (self.opened or self.error or self.long) is not None


def compare_all(sources: Sequence[Source], settings: Settings) -> tuple[list[Outcome], Settings]:
    """Compare the networks on every recording; one that fails does not stop the others. Shows progress and a button to stop.

    A third or fourth network that cannot be compared is left out of all, and of the settings that are returned; that is said.
    """
    identity = "|".join(source.key for source in sources)
    stopped = st.session_state.get("stopped") == identity
    place, waiting, time_left = st.empty(), st.empty(), TimeLeft()
    outcomes = []
    for number, source in enumerate(sources):
        if not get_server().has_tags(source, settings.networks):
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
    left_out = {name: said for outcome in outcomes for name, said in outcome.left_out.items()}
    if left_out:
        st.error("\n\n".join(map(formats.escaped, left_out.values())), icon=":material/error:")
        settings = replace(settings, also=tuple(name for name in settings.also if name not in left_out))
        outcomes = [
            _compare(outcome.source, settings, waiting) if outcome.comparisons else outcome
            for outcome in outcomes
        ]
    return outcomes, settings


def table(outcomes: Sequence[Outcome], settings: Settings) -> Outcome:
    """Draw a sortable table, one row a clip; return the clip to show: the selected row's, or the first that succeeded."""
    names = titles(settings.networks)
    first = next((i for i, outcome in enumerate(outcomes) if outcome.comparisons), 0)
    st.markdown(f"**{formats.plural(len(outcomes), 'clip')}** :small[:gray[Select a row to open it.]]")
    compared = [
        each.comparisons for each in outcomes if each.comparisons and not each.comparisons.clip.silent
    ]
    if compared:
        # Of a long recording there are the first two networks alone.
        candidates = zip_longest(*(each.of_baseline for each in compared))
        st.markdown(
            "  \n".join(
                summary([pair.agreement for pair in pairs if pair], name, formats.escaped)
                for name, pairs in zip(names[1:], candidates, strict=False)
            )
        )
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
            **_columns(names, settings.threshold),
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


def frame(outcomes: Sequence[Outcome], names: Sequence[str]) -> pd.DataFrame:
    """The table's data: each network's first tag, then how far those after the first agree with it."""
    return pd.DataFrame([_row(outcome, names) for outcome in outcomes])


def _row(outcome: Outcome, names: Sequence[str]) -> dict[str, object]:
    result, clip = outcome.comparisons, outcome.opened.clip if outcome.opened else outcome.long
    remark = "Select it for its tags over time." if outcome.long else "" if result else "Not done."
    notes = [*clip.notes, *result.first.baseline.notes] if clip and result else []
    measured = None if result is None or result.clip.silent else result
    length_s = None if clip is None or isinstance(clip, UncheckedClip) else clip.duration_s
    row: dict[str, object] = {"Clip": outcome.source.name, "Length": length_s}
    firsts = [_first(tags, measured.first.agreement.threshold) for tags in measured.tags] if measured else []
    row |= dict(zip_longest(names, firsts))
    for what in ("Kept", "Lost", "Gained", "Divergence"):
        figures = [_of(pair.agreement, what) for pair in measured.of_baseline] if measured else []
        row |= dict(zip_longest([_heading(what, name, names) for name in names[1:]], figures))
    return row | {"Remark": outcome.error or " ".join(notes) or remark}


def _of(agreed: Agreement, what: str) -> object:
    """One of the table's measures."""
    return {
        "Kept": agreed.kept_share,
        "Lost": " · ".join(agreed.lost),
        "Gained": " · ".join(agreed.gained),
        "Divergence": agreed.divergence,
    }[what]


def _heading(what: str, candidate: str, names: Sequence[str]) -> str:
    """A column's: where there is one candidate, its name is not repeated."""
    return what if len(names) == 2 else f"{what}, {candidate}"


def _columns(names: Sequence[str], threshold: float) -> dict[str, Any]:
    """How the measures of agreement are shown."""
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    at, baseline = formats.probability(threshold), names[0]
    width: Literal["small"] | None = (
        "small" if len(names) == 2 else None
    )  # of more, as wide as the heading with the name
    configured = {}
    for candidate in names[1:]:
        for what, column in {
            "Kept": number(
                format="percent",
                width=width,
                help=f"Of the tags with {at} or more by {baseline} or {candidate}, those that both have.",
            ),
            "Lost": text(help=f"Tags that {baseline} has and {candidate} does not."),
            "Gained": text(help=f"Tags that {candidate} has and {baseline} does not."),
            "Divergence": number(
                format="%.3f",
                width=width,
                help=f"Of all probabilities of {candidate} from those of {baseline}, in nats; 0 means identical outputs.",
            ),
        }.items():
            configured[_heading(what, candidate, names)] = column
    return configured


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
        result, left_out = _with_others(source, settings, shown)
    except PannscopeError as error:
        return Outcome(source, opened, error=message(error, settings.models))
    finally:
        waiting.empty()
    return Outcome(source, opened, result, left_out=left_out)


def _with_others(
    source: Source, settings: Settings, shown: opening.Progress
) -> tuple[Comparisons, dict[str, str]]:
    """The pair, and each further network that can be compared with those before it; why the others cannot."""

    def compared(names: Sequence[str]) -> Comparisons:
        part = len(names) / len(settings.networks)
        return get_server().comparison(
            source,
            names,
            top_k=settings.top_k,
            threshold=settings.threshold,
            on_wait=shown.on_wait,
            on_share=lambda share, doing: shown.on_share(part * share, doing),
        )

    names: tuple[str, ...] = settings.models
    result, left_out = compared(names), dict[str, str]()
    for name in settings.also:
        try:
            result = compared((*names, name))  # the tags of those before it are in the cache
        except AudioError:
            raise
        except PannscopeError as error:
            left_out[name] = f"{title(name)} is left out. {message(error, (*names, name))}"
        else:
            names = (*names, name)
    return result, left_out


def _long(source: Source, begun: UncheckedClip, settings: Settings) -> Outcome:
    """A long recording: compared once jobs have checked, drawn and tagged all of it, which nothing waits for here. Raises ``AudioError``."""
    long = get_server().long_recordings
    clip = long.checked(source)
    if clip is None:
        return Outcome(source, long=begun)
    opened, pair = long.opened(source, clip), long.timelines.known(source, settings.models)
    if opened is None or pair is None or not pair.complete:
        return Outcome(source, long=clip)
    result = long.comparison(clip, pair, top_k=settings.top_k, threshold=settings.threshold)
    return Outcome(source, opened, Comparisons.of(result))


def _progress(number: int, sources: Sequence[Source], identity: str, left_s: float | None) -> None:
    doing = f"{number + 1} of {len(sources)}: {formats.escaped(sources[number].name)}"
    st.progress(number / len(sources), text=formats.progress(doing, left_s))
    st.button("Stop", key=f"stop_{number}", on_click=lambda: st.session_state.update(stopped=identity))
