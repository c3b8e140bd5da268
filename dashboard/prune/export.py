"""The Prune page's export tab: the pruned network as a file, checked before it is offered, and its plan."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st

from core.errors import PannscopeError
from core.export import FORMATS, Exported, Format, export_bytes, refusal
from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.server.jobs import JobStatus, Step
from dashboard.server.server import get_server
from dashboard.widgets import query_params
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.job_panel import job_panel, job_progress

_FILE_PX = 84  # of the finished file with its notes: a file of other settings goes, and nothing moves


@dataclass(frozen=True)
class FileKind:
    """A format, in full or half precision."""

    form: Format
    half: bool = False

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.form.title}, half precision" if self.half else self.form.title

    @property
    def about(self) -> str:
        """What it is for."""
        return self.form.about + (" In half precision: half the size." if self.half else "")


@dataclass(frozen=True, eq=False)
class File:
    """An exported network, and the report of its check."""

    data: bytes
    report: Exported

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return len(self.data)


def export(cut: Cut) -> None:
    """Choice of the format, the file once it is prepared, and the plan."""
    st.markdown(
        "The network as shown above, repaired or not. Every file is read back and compared with the network on real audio "
        "before it is offered; the largest difference of a probability is stated."
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kind = _choose_kind(cut)
        pressed = st.button("Export", key="prepare", type="primary")
    st.caption(kind.about)
    key = ("file", kind.form.name, kind.half, get_server().pruned_key(cut))
    _plan(cut)
    with st.container(height=_FILE_PX, border=False):
        if not pressed or _start(key, cut, kind):
            jobs = get_server().jobs
            job_panel(
                "export",
                lambda: jobs.status(key),
                job_progress,
                lambda: jobs.cancel(key),
                lambda status: _offer(key, status),
            )


def _choose_kind(cut: Cut) -> FileKind:
    """The formats that the network can have."""
    kinds = {}
    network = get_server().tagger(cut.name).model
    for name, form in FORMATS.items():
        if refusal(name, network):
            continue
        kinds[name] = FileKind(form)
        if name == "safetensors":
            kinds["safetensors-half"] = FileKind(form, half=True)
    first = next(iter(kinds))
    query_params.follow(
        "format", query_params.named({name: kind.title for name, kind in kinds.items()}), first
    )
    chosen = st.selectbox(
        "Format",
        list(kinds),
        format_func=lambda name: kinds[name].title,
        key="format",
        persist_state="session",
        width=320,
    )
    query_params.keep("format", chosen, first)
    return kinds[chosen]


def _start(key: Hashable, cut: Cut, kind: FileKind) -> bool:
    """Write and check the file in the background; False, with the error drawn, where the network cannot be pruned."""
    server = get_server()
    server.jobs.forget(key)
    try:
        pruned, waveforms = server.pruned(cut), server.waveforms([cut.source])
    except PannscopeError as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
        return False

    def work(step: Step) -> File:
        return File(
            *export_bytes(
                pruned.tagger,
                kind.form.name,
                waveforms=waveforms,
                half=kind.half,
                on_progress=lambda done, total: step(
                    done, total, "Comparing with the network, seconds of audio"
                ),
            )
        )

    server.jobs.start(key, work, "Writing the file")
    return True


def _offer(key: Hashable, status: JobStatus | None) -> None:
    """The finished file, or why there is none."""
    if status is not None and status.message:
        st.error(formats.escaped(status.message), icon=":material/error:")
    file: File | None = get_server().jobs.result(key)
    if file is None:
        return
    report, name = file.report, file.report.path.name
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        download_button(f"Download {name}", file.data, name, key="download_file")
        st.caption(
            f"{formats.file_size(len(file.data))} · differs from the network by at most {report.max_abs_difference:.1g} on "
            f"{formats.plural(report.clips, 'clip')}, {formats.seconds(report.audio_seconds)} of audio.",
            width="stretch",
        )
    for note in report.notes:
        st.caption(formats.escaped(note))


def _plan(cut: Cut) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        download_button(
            "Plan as JSON",
            cut.plan.text,
            f"{cut.name}-plan.json",
            key="download_plan",
            mime="application/json",
            help_text="Which filters stay, and how they were chosen: this page and `pannscope prune --plan` can load it.",
        )
        st.caption("A plan is small, and can be applied again to the same network.", width="stretch")
