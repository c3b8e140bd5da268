"""Over time: when both networks recognise what, beside the player, and the events as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from core.audio import Clip, StreamedClip, UncheckedClip
from core.classes import top_categories
from core.compare import MARKED_FROM, Comparison
from core.events import FORMATS, EventSettings, Timeline, describe, detect, document, largest_differences
from dashboard import formats
from dashboard.charts import timeline as charts
from dashboard.charts.clip_picture import ClipPicture
from dashboard.compare import tags
from dashboard.compare.settings import Settings
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.timelines import SETTINGS, Pair, Timelines
from dashboard.widgets import clip_input
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.theme import palette
from dashboard.widgets.timeline import timeline_component

_DIFFERENCES = 4


_COMPUTED = "timeline_computed"
"""Key of the session's state: the recording and the networks whose timeline was started last."""

_DRAWN = "timeline_drawn"
"""Key of the session's state: what the component has drawn, and of what."""


@dataclass(frozen=True, eq=False)
class OverTime:
    """The heading with the timeline of a recording, or with the button that computes it.

    Attributes
    ----------
    source, clip : the recording.
    picture : its spectrogram; None of a long recording until there is one.
    compare : both networks' agreement on the whole, for what there is of their rows.
    titles : the networks' names for people.
    settings : of the page.
    at_once : compute it without being asked.
    """

    source: Source
    clip: Clip
    picture: ClipPicture | None
    compare: Callable[[Pair], Comparison]
    titles: tuple[str, str]
    settings: Settings
    at_once: bool = False

    def draw(self) -> None:
        """Draw it. Once it was asked for, every recording has one."""
        st.subheader(
            "Over time",
            anchor=False,
            help=f"Each network runs on windows of {SETTINGS.window_s:g} s, and every {SETTINGS.window_s * (1 - SETTINGS.overlap):g} s on the next one; "
            "a window's probabilities are drawn around its middle. Networks with framewise output have a cell every 0.32 s.",
        )
        if self.settings.also:
            st.caption(f"Of the first two networks, {self.titles[0]} and {self.titles[1]}.")
        if st.session_state.get(tags.OVER_TIME, self.at_once):
            self._show()
        job_panel(
            "over_time",
            status=self._status,
            progress=job_progress,
            cancel=self._cancel,
            idle=self._idle,
            above=self._timeline,
        )

    @property
    def _timelines(self) -> Timelines:
        server = get_server()
        return server.long_recordings.timelines if isinstance(self.clip, StreamedClip) else server.timelines

    @property
    def _pair(self) -> Pair | None:
        return self._timelines.known(self.source, self.settings.models)

    @property
    def _events(self) -> EventSettings:
        return EventSettings(on=self.settings.threshold)

    def _show(self) -> None:
        st.session_state[tags.OVER_TIME] = True
        key, models = st.session_state.get(_COMPUTED, ("", self.settings.models))
        if key == self.source.key and models != self.settings.models:
            self._timelines.cancel(self.source, models)  # of minutes, and nobody looks at it any more
        st.session_state[_COMPUTED] = (self.source.key, self.settings.models)
        self._timelines.start(self.source, self.settings.models, self.clip)

    def _status(self) -> JobStatus | None:
        clip_input.touch()  # a visitor who follows it for minutes is there
        return self._timelines.status(self.source, self.settings.models)

    def _cancel(self) -> None:
        st.session_state[tags.OVER_TIME] = False
        self._timelines.cancel(self.source, self.settings.models)

    def _idle(self, status: JobStatus | None) -> None:
        """The files, or the button."""
        if (pair := self._pair) is not None:
            if isinstance(self.clip, UncheckedClip):  # the check was cancelled, or there was no place for it
                st.caption("The events can be downloaded once all of the recording is checked.")
            else:
                self._downloads(pair)
            return
        if status is not None and status.message:
            st.caption(formats.escaped(status.message))
        st.button(
            "Show tags over time",
            key="show_over_time",
            icon=":material/timeline:",
            on_click=self._show,
        )
        st.caption(
            "When each network recognises what, in step with the player, and where they part. Both networks run once more, on short windows: "
            "a second or less for a short clip."
        )

    def _timeline(self) -> None:
        """The component, with as much as there is; packed again only where that, or how it is shown, has changed."""
        if (pair := self._pair) is None:
            return
        rows = len(pair.baseline.edges_s), len(pair.candidate.edges_s)
        drawn_of = (
            self.source.key,
            rows,
            self.clip.duration_s,
            self.picture is None,
            self.settings,
            tags.found(),
            palette(),
        )
        before, data = st.session_state.get(_DRAWN, (None, {}))
        if before != drawn_of:
            data = self._packed(pair)
            st.session_state[_DRAWN] = (drawn_of, data)
        timeline_component(data)
        st.caption(
            "Under the spectrogram, both networks' rows for each tag: the fuller the colour, the likelier the tag. Framed: where they differ most."
        )

    def _packed(self, pair: Pair) -> dict[str, Any]:
        sides, settings = (pair.baseline, pair.candidate), self.settings
        indices = _indices(sides, settings)
        agreement = self.compare(pair).agreement
        shown = charts.shown_tags(agreement, *sides, indices=indices, found=tags.found())
        differences = [
            difference
            for difference in largest_differences(*sides, least=MARKED_FROM)
            if difference.index in indices
        ][:_DIFFERENCES]
        first, second = (
            [event for event in detect(side.rows(), side.classes, self._events) if event.index in indices]
            for side in sides
        )
        # What a recording that is still being checked turns out to last may be more than was expected.
        duration_s = max(self.clip.duration_s, *(float(side.edges_s[-1]) for side in sides))
        data = charts.timeline_data(
            sides,
            self.titles,
            shown,
            duration_s=duration_s,
            picture=self.picture,
            palette=palette(),
        )
        count = len(first) + len(second)
        part = f", the first {charts.MOST_EVENTS} here" if count > charts.MOST_EVENTS else ""
        return {
            **data,
            "key": f"{self.source.key}|{'|'.join(settings.models)}",
            "alt": charts.timeline_alt(self.titles, data["tags"], duration_s),
            "same": f"The networks differ by less than {formats.probability(MARKED_FROM)} everywhere.",
            "heading": f"{formats.plural(count, 'event')} at {formats.probability(settings.threshold)}{part}",
            "differences": charts.differences_data(differences, shown),
            "events": charts.events_data((first, second)),
        }

    def _documents(self, pair: Pair) -> list[dict[str, Any]]:
        """The events of all classes, of both networks."""
        name = self.source.name
        return [
            document(
                self.clip,
                detect(side.rows(), side.classes, self._events),
                describe(get_server().tagger(model), SETTINGS, self._events),
                path=name,
                file=name,
            )
            for model, side in zip(self.settings.models, (pair.baseline, pair.candidate), strict=True)
        ]

    def _downloads(self, pair: Pair) -> None:
        def content(form: str, number: int | None = None) -> str:
            documents = self._documents(pair)
            return FORMATS[form].content(documents if number is None else documents[number]).decode()

        with st.container(horizontal=True, gap="small"):
            for form in ("csv", "json"):
                download_button(
                    FORMATS[form].title,
                    partial(content, form),
                    f"pannscope-events{FORMATS[form].suffix}",
                    key=f"events_{form}",
                    help_text="The events of both networks, as `pannscope timeline` writes them.",
                )
            for number, title in enumerate(self.titles):
                download_button(
                    f"Audacity labels, {title}",
                    partial(content, "audacity", number),
                    f"pannscope-events-{number + 1}{FORMATS['audacity'].suffix}",
                    key=f"events_audacity_{number}",
                    help_text="A label track to import in Audacity.",
                )


def _indices(sides: tuple[Timeline, Timeline], settings: Settings) -> frozenset[int]:
    """The classes of the chosen categories, or of all."""
    wanted = set(settings.categories)
    return frozenset(
        index
        for side in sides
        for index in side.classes.indices
        if not wanted or wanted & set(top_categories(index))
    )
