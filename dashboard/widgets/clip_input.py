"""Where recordings come in: files, the microphone, and the examples; an example is always there to begin with.

What a person gave stays hers on every page: the uploader forgets its files when the page changes, so the digested
recordings are kept in the session and listed, with a way to let them go.
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
    """Draw the three ways in and give what is to be heard, never nothing.

    A chosen example is shown; where none is chosen, the person's own recordings are, latest kind first. Giving a
    recording lets go of the example, and choosing an example keeps the recordings for later.
    """
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="small"):
        st.file_uploader(
            "Your recordings",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key="uploads",
            on_change=_own,
            args=("uploads",),
            label_visibility="collapsed",
        )
        with st.popover("Record", icon=":material/mic:"):
            st.audio_input(
                "Microphone",
                sample_rate=SAMPLE_RATE,
                key="recording",
                on_change=_own,
                args=("recording",),
            )
            st.caption(
                "Browsers treat what a microphone hears as speech: they level it and take noise out, which changes "
                "sirens, rain or birds. For a fair test of such sounds, record with another app and add the file."
            )
    # What the widgets return are copies, made anew in every run, of up to 50 MB each; the session's own share the server's bytes.
    given = _own_sources(st.session_state.get("uploads") or [], st.session_state.get("recording"))
    _earlier()
    if st.session_state.get("example") is None and not given:
        # A default of the widget itself could not be let go of later.
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
        help="Made by this program from sines and noise, so that they can be shared; they are no recordings.",
    )
    st.session_state["last_example"] = example
    if given and example:
        kept = formats.plural(len(given), "recording")
        st.caption(
            f"Your {kept} {'is' if len(given) == 1 else 'are'} kept: choose the marked example again to go back."
        )
    if given and not example:
        return given
    chosen = example or EXAMPLES[0].key
    return [Source.of_example(chosen, _TITLES[chosen])]


def choose_one(place_for_examples: DeltaGenerator) -> Source:
    """Like ``choose``, for pages that listen to one clip: of several recordings, a small choice says which."""
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
    """The name of the clip that a page listens to, as far as it is known before the ways in are drawn."""
    example = st.session_state.get("example")
    if example is None and "example" not in st.session_state:
        example = query_params.linked("example", _TITLES) or EXAMPLES[0].key
    if example is not None:
        return _TITLES[example]
    names = {source.key: source.name for source in own()}
    given = [upload.name for upload in st.session_state.get("uploads") or []]
    return names.get(st.session_state.get("current_clip", "")) or next(
        iter((*names.values(), *given)), "your recording"
    )


def own() -> list[Source]:
    """The person's own recordings, after the ways in have been drawn."""
    kept: dict[str, Source] = {}
    for held in ("digested", "earlier"):
        given: dict[str, Source] = st.session_state.get(held, {})
        kept |= {source.key: source for source in given.values() if source.key not in kept}
    return list(kept.values())


def _own(kind: str) -> None:
    """A recording was given, or taken away: show the person's own, this kind first."""
    st.session_state["latest_kind"] = kind
    st.session_state["given_or_taken"] = True
    if st.session_state.get(kind):
        st.session_state["example"] = None
    elif not any(st.session_state.get(held) for held in ("uploads", "recording", "earlier")):
        st.session_state["example"] = EXAMPLES[0].key


def _own_sources(uploads: list[UploadedFile], recording: UploadedFile | None) -> list[Source]:
    """The person's recordings; each is digested once, and let go of when it is taken away."""
    before: dict[str, Source] = st.session_state.get("digested", {})
    now: dict[str, Source] = {}
    spoken = [(recording, "Microphone recording")] if recording is not None else []
    files = [(upload, upload.name) for upload in uploads]
    last = st.session_state.get("latest_kind")
    for upload, name in spoken + files if last == "recording" else files + spoken:
        identity = upload.file_id
        now[identity] = before.get(identity) or Source.of_bytes(name, upload.getvalue())
    if not st.session_state.pop("given_or_taken", False):
        # Nobody took a file away, and yet it is gone: the page was changed, and its uploader with it.
        gone = {source.key: source for identity, source in before.items() if identity not in now}
        st.session_state["earlier"] = gone | st.session_state.get("earlier", {})
    st.session_state["digested"] = now
    return own()


def _earlier() -> None:
    """The recordings that were given on another page, with a way to let them go."""
    earlier: dict[str, Source] = st.session_state.get("earlier", {})
    if not earlier:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = ", ".join(formats.escaped(source.name) for source in earlier.values())
        st.caption(f"Your recordings ({len(earlier)}): {names}", width="content")
        st.button("Let go", key="let_go", icon=":material/close:", type="tertiary", on_click=_let_go)


def _let_go() -> None:
    st.session_state["earlier"] = {}
    if not st.session_state.get("uploads") and not st.session_state.get("recording"):
        st.session_state["example"] = st.session_state.get("last_example") or EXAMPLES[0].key
