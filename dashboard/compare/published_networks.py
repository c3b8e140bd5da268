"""The line that says which networks are shown, and the download of the published ones."""

from __future__ import annotations

import streamlit as st

from core import checkpoints
from core.tagging import EMBEDDED_PAIR, OFFICIAL_PAIR
from dashboard import formats
from dashboard.compare import settings
from dashboard.compare.settings import Settings
from dashboard.server.downloads import DownloadStatus
from dashboard.server.models import missing_official
from dashboard.server.own_networks import is_demonstration, title
from dashboard.server.server import get_server
from dashboard.widgets.job_panel import job_panel


def networks(chosen: Settings) -> None:
    """Say what is shown; offer the download of the published pair, follow it, or say why it failed."""
    downloads = get_server().downloads
    status = downloads.status
    if status.active:
        st.session_state["following"] = True
    elif st.session_state.pop("following", False):
        st.session_state["ended_fetch"] = status
        if status.done and chosen.models == EMBEDDED_PAIR:
            settings.use_pair(*OFFICIAL_PAIR)
            st.rerun()
    job_panel(
        "fetch",
        lambda: downloads.status,
        _progress,
        downloads.cancel,
        lambda _status: _offer(chosen, st.session_state.get("ended_fetch")),
        outdated=lambda: _ended(downloads.status) or settings.pair_is_waiting(),
    )


def _ended(status: DownloadStatus) -> bool:
    """Whether a download ended that this visitor followed."""
    return not status.active and "following" in st.session_state


def _start(names: tuple[str, ...]) -> None:
    """Begin a download that this visitor follows to its end."""
    st.session_state["following"] = True
    st.session_state.pop("ended_fetch", None)
    get_server().downloads.start(names)


def _progress(status: DownloadStatus) -> str:
    current = status.current or status.names[-1]
    number = f" ({status.names.index(current) + 1} of {len(status.names)})" if len(status.names) > 1 else ""
    total = f" of {formats.file_size(status.total)}" if status.total else ""
    return f"Fetching {checkpoints.entry(current).title}{number}: {formats.file_size(status.received)}{total}"


def _offer(chosen: Settings, ended: DownloadStatus | None) -> None:
    failure = ended.message if ended else None
    embedded = [name for name in chosen.models if is_demonstration(name)]
    missing = missing_official()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(_shown(chosen, embedded), width="content")
        if missing and (embedded or failure):
            st.button(
                _start_label(ended, missing),
                key="fetch_official",
                type="tertiary",
                icon=":material/download:",
                on_click=_start,
                args=(missing,),
                help="Downloads the networks' files from their Zenodo records, verifies them and keeps them on this machine. "
                "You can use the page meanwhile.",
            )
        elif embedded:
            st.button(
                "Show the published networks",
                key="show_official",
                type="tertiary",
                on_click=settings.use_pair,
                args=OFFICIAL_PAIR,
            )
    if failure:
        st.caption(f"The published networks were not fetched. {formats.escaped(failure)}")


def _start_label(ended: DownloadStatus | None, missing: tuple[str, ...]) -> str:
    if ended is None or not ended.message:
        size = sum(checkpoints.entry(name).download_bytes for name in missing)
        return f"Get the published networks ({formats.file_size(size)})"
    return "Resume" if ended.cancelled else "Try again"


def _shown(chosen: Settings, embedded: list[str]) -> str:
    if len(embedded) == len(chosen.models):
        classes = len(checkpoints.entry(embedded[0]).classes)
        return f"Shown: demonstration networks with {classes} classes of sound, not the published CNN14 and E-PANNs."
    first, second = (title(name) for name in chosen.models)
    return f"Shown: {first} and {second} on the same recording."
