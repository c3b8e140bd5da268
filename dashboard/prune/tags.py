"""The pruned network's tags of the current clip beside the unpruned one's."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import verdict
from core.compare import Comparison
from core.errors import PannscopeError
from core.pruning.repair.repair import methods
from core.units import THRESHOLD
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.charts.mirrored_tags import MARGIN_PX, ROW_PX, mirrored_tags, mirrored_tags_alt
from dashboard.prune import healing
from dashboard.prune.cut import Cut
from dashboard.server.models import class_names
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.time_left import TimeLeft
from dashboard.widgets import clip_notes, opening, tables
from dashboard.widgets.slots import Slot
from dashboard.widgets.theme import palette

PRUNED = "Pruned"

ROOM = 6
"""Rows of the chart, drawn or empty: a step of the slider moves nothing below it."""

VERDICT_PX = 104
"""Four lines of text, or the bar of a repair: whichever is shown, nothing below it moves. Longer texts scroll."""

_CAPTION_PX = 38
_CALIBRATED_ON = {
    "clip": "{clip}, so agreement is better here than on other clips",
    "examples": "{examples}, not on {clip}",
    "both": "{clip} and {examples}",
}


@dataclass(frozen=True)
class Frame:
    """Placeholders for what takes time."""

    verdict: DeltaGenerator
    chart: Slot


def frame(cut: Cut) -> Frame:
    """Draw the clip and the frame of the tags, in their final size."""
    clip_notes.notes(
        cut.source, get_server().clip(cut.source).clip, (get_server().entry(cut.name),), class_names(cut.name)
    )
    _player(cut.source)
    verdict = st.container(height=VERDICT_PX, border=False).empty()
    verdict.markdown(":gray[Running both networks …]")
    left, right = st.columns(2, gap="small", wrap=False)
    left.markdown(f":blue[**{cut.title}**]", text_alignment="right")
    right.markdown(f":orange[**{PRUNED}**]")
    return Frame(verdict, Slot("tags", ROW_PX * ROOM + MARGIN_PX + _CAPTION_PX))


class Progress(opening.Progress):
    """Waiting, repair and tagging, in the place of the verdict. A cancel gives up the repair, or, without one, the recording."""

    def __init__(self, verdict: DeltaGenerator, cut: Cut) -> None:
        cancel = None if cut.repair == "off" else _switch_repair_off
        super().__init__(cut.source, verdict, cancel, key="cancel_repair")
        self._time_left = TimeLeft()

    def on_repair(self, done: int, total: int) -> None:
        """Show how far the repair is."""
        self._time_left.update(done, total)
        text = formats.progress("Repairing on the calibration clips", self._time_left.seconds())
        self.update(done / max(1, total), text)


def tags(cut: Cut, drawn: Frame) -> Comparison | None:
    """Prune, repair where chosen, tag and draw; None where that failed, with the error in the frame."""
    progress = Progress(drawn.verdict, cut)
    try:
        compared = get_server().pruned_comparison(
            cut, on_wait=progress.on_wait, on_progress=progress.on_repair, on_share=progress.on_share
        )
    except PannscopeError as error:
        drawn.verdict.empty()
        drawn.chart.fill().error(formats.escaped(str(error)), icon=":material/error:")
        return None
    drawn.verdict.markdown(f"**{verdict.headline(compared, cut.title, PRUNED, formats.escaped)}**")
    with drawn.chart.fill():
        rows = tables.chart_rows(compared, limit=ROOM)
        st.plotly_chart(
            mirrored_tags(
                rows,
                baseline=cut.title,
                candidate=PRUNED,
                palette=palette(),
                threshold=THRESHOLD,
                room=ROOM,
            ),
            config=CONFIG,
            key="mirrored_tags",
            alt=mirrored_tags_alt(rows, baseline=cut.title, candidate=PRUNED, threshold=THRESHOLD),
        )
        st.caption(_note(cut))
    return compared


def _player(source: Source) -> None:
    opened = get_server().clip(source)
    st.markdown(
        f"**{formats.escaped(source.name)}** :small[:gray[{formats.seconds(opened.clip.duration_s)}]]",
        help="Played as the networks receive it: mixed to mono, 32 kHz, at its own level.",
    )
    st.audio(opened.sound, format=opened.sound_type, alt=f"Player of {source.name}")


def _note(cut: Cut) -> str:
    note = f"Computed here by the pruned network. Dotted lines: the threshold, {formats.probability(THRESHOLD)}; pale rows are below it."
    if cut.healed is not None:
        return f"{note} {healing.note(cut)}"
    if cut.repair == "off":
        return f"{note} Neither fine-tuned nor repaired."
    examples = "the eleven other examples" if cut.source.example else "the twelve examples"
    clip = "this clip" if len(cut.recordings) < 2 or cut.source.example else "your recordings"
    on = _CALIBRATED_ON[cut.repair].format(clip=clip, examples=examples)
    report = get_server().pruned(cut).repair
    how = f" ({methods(report)})" if report else ""
    return f"{note} Repaired on {on}, without labels{how}."


def _switch_repair_off() -> None:
    st.session_state["repair"] = "off"
