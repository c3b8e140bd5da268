"""Take home: the pruned network as a file, each copy held against the network before it is offered, and its plan."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st

from core.errors import PannscopeError
from core.export import FORMATS, Exported, Format, export_bytes
from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.server.jobs import JobStatus, Step
from dashboard.server.pruned import Pruned
from dashboard.server.server import get_server
from dashboard.widgets import query_params
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.job_panel import job_panel, job_progress

_HALF = "safetensors-half"


@dataclass(frozen=True, eq=False)
class File:
    """A finished copy: its bytes, and what was found when it was checked."""

    data: bytes
    done: Exported
    name: str

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return len(self.data)


def files(cut: Cut) -> None:
    """One row a format: what it is for, and its file once it was prepared; the plan below."""
    st.markdown(
        "The network as it stands above, repaired or not. Every file is read back and run beside the network on real input "
        "before it is offered; the largest difference of a probability is written down."
    )
    kinds = {name: (form, False) for name, form in FORMATS.items()}
    kinds = {
        key: value
        for name, each in kinds.items()
        for key, value in (
            ((name, each), (_HALF, (each[0], True))) if name == "safetensors" else ((name, each),)
        )
    }
    titles = {key: f"{form.title}{', half precision' if half else ''}" for key, (form, half) in kinds.items()}
    query_params.follow("format", titles)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kind = st.selectbox(
            "Format",
            list(kinds),
            format_func=titles.__getitem__,
            key="format",
            bind="query-params",
            persist_state="session",
            width=320,
        )
        asked = st.button("Prepare the file", key="prepare", type="primary")
    form, half = kinds[kind]
    st.caption(form.about + (" In half precision: half the size." if half else ""))
    _file(cut, form, half, asked)
    _plan(cut)


def _file(cut: Cut, form: Format, half: bool, asked: bool) -> None:
    jobs = get_server().jobs
    key = ("file", form.name, half, get_server().pruned_key(cut))
    if asked:
        jobs.forget(key)
        try:
            ready = get_server().pruned(cut)
        except PannscopeError as error:
            st.error(formats.escaped(str(error)), icon=":material/error:")
            return
        _start(key, ready, form, half, cut)
    job_panel(
        "export",
        lambda: jobs.status(key),
        job_progress,
        lambda: jobs.cancel(key),
        lambda status: _offer(key, status),
    )


def _start(key: Hashable, ready: Pruned, form: Format, half: bool, cut: Cut) -> None:
    waveforms = get_server().waveforms([cut.source])

    def work(_step: Step) -> File:
        data, done = export_bytes(ready.tagger, form.name, waveforms=waveforms, half=half)
        return File(data, done, done.path.name)

    get_server().jobs.start(key, work, "Writing the file, reading it back and comparing")


def _offer(key: Hashable, status: JobStatus | None) -> None:
    """The finished file, or why there is none."""
    if status is not None and status.message:
        st.error(formats.escaped(status.message), icon=":material/error:")
    file: File | None = get_server().jobs.result(key)
    if file is None:
        return
    done = file.done
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        download_button(f"Download {file.name}", file.data, file.name, key="download_file")
        st.caption(
            f"{formats.file_size(len(file.data))} · differs from the network by at most {done.max_abs_difference:.1g} on "
            f"{formats.plural(done.clips, 'clip')}, {formats.seconds(done.audio_seconds)} of audio.",
            width="stretch",
        )
    for note in done.notes:
        st.caption(formats.escaped(note))


def _plan(cut: Cut) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        download_button(
            "Plan as JSON",
            cut.plan.text,
            f"{cut.name}-plan.json",
            key="download_plan",
            mime="application/json",
            help_text="Which filters stay, and how they were chosen: this page and `pannscope prune --plan` read it back.",
        )
        st.caption("A plan is small, and can be carried out again on the same network.", width="stretch")
