"""Downloads of published networks that a visitor follows: starting one, its progress, and how the last one ended."""

from __future__ import annotations

import streamlit as st

from core import checkpoints
from dashboard import formats
from dashboard.server.downloads import DownloadStatus
from dashboard.server.server import get_server

HELP = (
    "Downloads the network's file from where its authors published it, verifies it and keeps it on this machine. You can use the pages "
    "meanwhile."
)

_FOLLOWING, _ENDED = "following", "ended_fetch"


def start(names: tuple[str, ...]) -> None:
    """Begin a download that this visitor follows to its end."""
    st.session_state[_FOLLOWING] = True
    st.session_state.pop(_ENDED, None)
    get_server().downloads.start(names)


def watch() -> DownloadStatus | None:
    """Note what this visitor follows; the download's last state in the one run in which it has just ended."""
    status = get_server().downloads.status
    if status.active:
        st.session_state[_FOLLOWING] = True
    elif st.session_state.pop(_FOLLOWING, False):
        st.session_state[_ENDED] = status
        return status
    return None


def ended() -> DownloadStatus | None:
    """How the last download ended that this visitor followed."""
    return st.session_state.get(_ENDED)


def just_ended(status: DownloadStatus) -> bool:
    """Whether a download ended that this visitor followed, and ``watch`` has not noted yet."""
    return not status.active and _FOLLOWING in st.session_state


def progress(status: DownloadStatus) -> str:
    """What has arrived of which file, in words."""
    current = status.current or status.names[-1]
    number = f" ({status.names.index(current) + 1} of {len(status.names)})" if len(status.names) > 1 else ""
    total = f" of {formats.file_size(status.total)}" if status.total else ""
    return f"Fetching {checkpoints.entry(current).title}{number}: {formats.file_size(status.received)}{total}"


def start_label(failed: DownloadStatus | None, otherwise: str) -> str:
    """The words of the button: what it does, or that it goes on or tries again."""
    if failed is None or not failed.message:
        return otherwise
    return "Resume" if failed.cancelled else "Try again"
