"""The line that says which networks are shown, and the download of the published ones."""

from __future__ import annotations

import streamlit as st

from core import checkpoints
from core.settings import fixed_models
from core.tagging import EMBEDDED_PAIR, OFFICIAL_PAIR
from dashboard import formats
from dashboard.compare.settings import Settings
from dashboard.server.downloads import DownloadStatus
from dashboard.server.models import missing_official
from dashboard.server.own_networks import is_demonstration, titles
from dashboard.server.server import get_server
from dashboard.widgets import download, pair_select
from dashboard.widgets.job_panel import job_panel


def networks(chosen: Settings) -> None:
    """Say what is shown; offer the download of the published pair, follow it, or say why it failed."""
    downloads = get_server().downloads
    over = download.watch()
    if over is not None and over.done and chosen.models == EMBEDDED_PAIR:
        pair_select.use_pair(*OFFICIAL_PAIR)
        st.rerun()
    job_panel(
        "fetch",
        lambda: downloads.status,
        download.progress,
        downloads.cancel,
        lambda _status: _offer(chosen, download.ended()),
        outdated=lambda: download.just_ended(downloads.status) or pair_select.pair_is_waiting(),
    )


def _offer(chosen: Settings, ended: DownloadStatus | None) -> None:
    failure = ended.message if ended else None
    embedded = [name for name in chosen.models if is_demonstration(name)]
    missing = missing_official()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(_shown(chosen, embedded), width="content")
        if missing and (embedded or failure) and not fixed_models():
            st.button(
                download.start_label(ended, _get(missing)),
                key="fetch_official",
                type="tertiary",
                icon=":material/download:",
                on_click=download.start,
                args=(missing,),
                help=download.HELP,
            )
        elif embedded and not missing:
            st.button(
                "Show the published networks",
                key="show_official",
                type="tertiary",
                on_click=pair_select.use_pair,
                args=OFFICIAL_PAIR,
            )
    if failure:
        st.caption(f"The published networks were not fetched. {formats.escaped(failure)}")


def _get(missing: tuple[str, ...]) -> str:
    size = sum(checkpoints.entry(name).download_bytes for name in missing)
    return f"Get the published networks ({formats.file_size(size)})"


def _shown(chosen: Settings, embedded: list[str]) -> str:
    if len(embedded) == len(chosen.networks):
        counts = dict.fromkeys(str(checkpoints.entry(name).class_count) for name in embedded)
        classes = " and ".join(counts)
        return f"Shown: demonstration networks with {classes} classes of sound, not the published CNN14 and E-PANNs."
    *others, last = titles(chosen.networks)
    return f"Shown: {', '.join(others)} and {last} on the same recording."
