"""One network of the gallery: what it is, its figures and licence, and installing or removing it."""

from __future__ import annotations

import streamlit as st

from core import checkpoints, settings
from core.checkpoints import Entry
from core.errors import PannscopeError
from dashboard import formats
from dashboard.server.downloads import DownloadStatus
from dashboard.server.server import get_server
from dashboard.widgets import download
from dashboard.widgets.job_panel import job_panel

_FAILED = "failed_removal"


def card(entry: Entry) -> None:
    """Draw the card; while its network is downloaded it shows the progress."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{entry.title}**" + (" :gray-badge[installed]" if _is_here(entry) else ""))
        st.markdown(entry.about)
        st.markdown(f":small[{figures(entry)}]")  # the colour of a link in a caption has too little contrast
        if entry.kind != "embedded" and not settings.fixed_models():
            _actions(entry)


def figures(entry: Entry) -> str:
    """Quality, counts, licence and paper in one line of markdown."""
    facts = [] if entry.published_mAP is None else [f"mAP {entry.published_mAP:.3f}"]
    if entry.params is not None:
        facts.append(f"{formats.count(entry.params)} parameters")
    if entry.macs_10s is not None:
        facts.append(f"{formats.count(entry.macs_10s)} MACs")
    facts.append(f"licence: {entry.licence}")
    if entry.paper is not None:
        facts.append(f"[{entry.paper}]({paper_address(entry.paper)})")
    return " · ".join(facts)


def paper_address(paper: str) -> str:
    """The address of an arXiv number.

    Examples
    --------
    >>> paper_address("arXiv:1912.10211")
    'https://arxiv.org/abs/1912.10211'
    """
    return f"https://arxiv.org/abs/{paper.removeprefix('arXiv:')}"


def _is_here(entry: Entry) -> bool:
    return checkpoints.status(entry) in ("embedded", "installed")


def _actions(entry: Entry) -> None:
    downloads = get_server().downloads

    def of_this() -> DownloadStatus | None:
        status = downloads.status
        return status if status.current == entry.name else None

    if _is_here(entry):
        _remove(entry)
        return
    missing = checkpoints.missing_package(entry)
    if missing is not None:
        st.markdown(f":small[{formats.escaped(missing)}]")
        return
    job_panel(
        f"fetch_{entry.name}",
        of_this,
        download.progress,
        downloads.cancel,
        lambda _status: _install(entry),
        outdated=lambda: of_this() is None and download.just_ended(downloads.status),
    )


def _install(entry: Entry) -> None:
    ended = download.ended()
    failed = ended if ended is not None and entry.name in ended.names and ended.message else None
    st.button(
        download.start_label(failed, f"Install ({formats.file_size(entry.download_bytes)})"),
        key=f"install_{entry.name}",
        icon=":material/download:",
        on_click=download.start,
        args=((entry.name,),),
        disabled=get_server().downloads.status.active,
        help=download.HELP,
    )
    if failed is not None:
        st.markdown(f":small[{formats.escaped(failed.message or '')}]")


def _remove(entry: Entry) -> None:
    with st.popover("Remove", icon=":material/delete:", type="tertiary"):
        st.markdown(
            f"Remove {entry.title} from this machine? It frees {formats.file_size(entry.download_bytes)}, and the network can be "
            "installed again."
        )
        st.button(f"Remove {entry.title}", key=f"remove_{entry.name}", on_click=_removed, args=(entry,))
    failed = st.session_state.pop(_FAILED, {})
    if entry.name in failed:
        st.caption(formats.escaped(failed[entry.name]))


def _removed(entry: Entry) -> None:
    try:
        checkpoints.remove(entry)
    except PannscopeError as error:
        st.session_state[_FAILED] = {entry.name: str(error)}
