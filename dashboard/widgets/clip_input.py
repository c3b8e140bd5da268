"""The choice of recordings: files, the microphone, and the examples, of which one is shown to begin with.

A visitor's recordings stay on every page: the uploader forgets its files when the page changes, so that the recordings are kept in
the session and listed, with a button that removes them.
"""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.audio import SAMPLE_RATE, SUFFIXES
from core.examples import EXAMPLES
from dashboard import formats
from dashboard.server.source import Source
from dashboard.widgets import query_params

_TITLES = {example.key: example.title for example in EXAMPLES}


def choose(place_for_examples: DeltaGenerator) -> list[Source]:
    """Draw the three inputs and return the chosen recordings, at least one.

    A selected example is shown; without one, the visitor's own recordings are, latest kind first. Adding a recording
    deselects the example, and selecting an example keeps the recordings for later.
    """
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="small"):
        st.file_uploader(
            "Your recordings",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key="uploads",
            on_change=_recordings_changed,
            args=("uploads",),
            label_visibility="collapsed",
        )
        with st.popover("Record", icon=":material/mic:"):
            st.audio_input(
                "Microphone",
                sample_rate=SAMPLE_RATE,
                key="recording",
                on_change=_recordings_changed,
                args=("recording",),
            )
            st.caption(
                "Browsers process a microphone's sound as speech: gain control and noise suppression change "
                "sirens, rain or birds. To test such sounds, record with another app and add the file."
            )
    # The widgets return copies of up to 50 MB each, made anew in every run; the session's own share the server's bytes.
    recordings = _own_sources(st.session_state.get("uploads") or [], st.session_state.get("recording"))
    _earlier()
    if st.session_state.get("example") is None and not recordings:
        # A default of the widget itself could not be deselected later.
        before = st.session_state.get("last_example")
        st.session_state["example"] = query_params.linked("example", _TITLES) or before or EXAMPLES[0].key
    example = place_for_examples.pills(
        "Or an example",
        list(_TITLES),
        format_func=_TITLES.__getitem__,
        key="example",
        bind="query-params",
        persist_state="session",
        wrap=False,
        help="Synthesized by this program from sines and noise, so that they can be shared; they are not recordings.",
    )
    st.session_state["last_example"] = example
    if recordings and example:
        kept = formats.plural(len(recordings), "recording")
        st.caption(
            f"Your {kept} {'is' if len(recordings) == 1 else 'are'} kept: deselect the example to go back."
        )
    if recordings and not example:
        return recordings
    chosen = example or EXAMPLES[0].key
    return [Source.of_example(chosen, _TITLES[chosen])]


def choose_one(place_for_examples: DeltaGenerator) -> Source:
    """Like ``choose``, for pages that show one clip: of several recordings, a select box picks one."""
    sources = choose(place_for_examples)
    if len(sources) == 1:
        return sources[0]
    keys = [source.key for source in sources]
    if st.session_state.get("current_clip") not in keys:
        st.session_state["current_clip"] = keys[0]
    names = {source.key: source.name for source in sources}
    chosen = st.selectbox(
        "Which recording", keys, format_func=names.__getitem__, key="current_clip", persist_state="session"
    )
    return sources[keys.index(chosen)]


def chosen_name() -> str:
    """The name of the clip that a page shows, as far as it is known before the inputs are drawn."""
    example = st.session_state.get("example")
    if example is None and "example" not in st.session_state:
        example = query_params.linked("example", _TITLES) or EXAMPLES[0].key
    if example is not None:
        return _TITLES[example]
    names = {source.key: source.name for source in own()}
    uploads = [upload.name for upload in st.session_state.get("uploads") or []]
    return names.get(st.session_state.get("current_clip", "")) or next(
        iter((*names.values(), *uploads)), "your recording"
    )


def own() -> list[Source]:
    """The visitor's own recordings, after the inputs have been drawn."""
    sources: dict[str, Source] = {}
    for group in ("current_recordings", "earlier_recordings"):
        recordings: dict[str, Source] = st.session_state.get(group, {})
        sources |= {source.key: source for source in recordings.values() if source.key not in sources}
    return list(sources.values())


def _recordings_changed(kind: str) -> None:
    """A recording was added or removed: show the visitor's own, this kind first."""
    st.session_state["latest_kind"] = kind
    st.session_state["recordings_changed"] = True
    if st.session_state.get(kind):
        st.session_state["example"] = None
    elif not any(st.session_state.get(group) for group in ("uploads", "recording", "earlier_recordings")):
        st.session_state["example"] = EXAMPLES[0].key


def _own_sources(uploads: list[UploadedFile], recording: UploadedFile | None) -> list[Source]:
    """The visitor's recordings; each is hashed once, and removed from the session with its widget's file."""
    before: dict[str, Source] = st.session_state.get("current_recordings", {})
    now: dict[str, Source] = {}
    recorded = [(recording, "Microphone recording")] if recording is not None else []
    files = [(upload, upload.name) for upload in uploads]
    last = st.session_state.get("latest_kind")
    for upload, name in recorded + files if last == "recording" else files + recorded:
        identity = upload.file_id
        now[identity] = before.get(identity) or Source.of_bytes(name, upload.getvalue())
    if not st.session_state.pop("recordings_changed", False):
        # Nobody removed a file, and yet it is missing: the page was changed, and its uploader with it.
        gone = {source.key: source for identity, source in before.items() if identity not in now}
        st.session_state["earlier_recordings"] = gone | st.session_state.get("earlier_recordings", {})
    st.session_state["current_recordings"] = now
    return own()


def _earlier() -> None:
    """The recordings that were added on another page, with a button that removes them."""
    earlier: dict[str, Source] = st.session_state.get("earlier_recordings", {})
    if not earlier:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = ", ".join(formats.escaped(source.name) for source in earlier.values())
        st.caption(f"Your recordings ({len(earlier)}): {names}", width="content")
        st.button("Remove", key="remove", icon=":material/close:", type="tertiary", on_click=_remove)


def _remove() -> None:
    st.session_state["earlier_recordings"] = {}
    if not st.session_state.get("uploads") and not st.session_state.get("recording"):
        st.session_state["example"] = st.session_state.get("last_example") or EXAMPLES[0].key
