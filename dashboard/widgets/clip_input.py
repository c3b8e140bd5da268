"""The choice of recordings: files, the microphone, and the examples, of which one is shown to begin with.

The uploader and the recorder are only the way in: what they receive is kept by the server for this visitor, listed here with buttons
that remove it, and named by its hash in the page's address, so that it outlives a change of page and a reload.
"""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile

from core.audio import SAMPLE_RATE, SUFFIXES, Channel, Clip
from core.examples import EXAMPLES
from dashboard import formats
from dashboard.server.http import visitor
from dashboard.server.recordings import KEPT_S, get_recordings
from dashboard.server.source import Source
from dashboard.widgets import query_params
from dashboard.widgets.clip_notes import is_known

_TITLES = {example.key: example.title for example in EXAMPLES}
_LISTED = 8  # recordings with a button of their own
CHANNELS_DIFFER_DB = 12.0
"""A quarter of the amplitude; the channels of a stereo recording of one scene differ by less."""

_KEPT = formats.seconds(KEPT_S)


def choose(place_for_examples: DeltaGenerator) -> list[Source]:
    """Draw the three inputs and return the chosen recordings, at least one.

    A selected example is shown; without one, the visitor's own recordings are, latest kind first. Adding a recording
    deselects the example, and selecting an example keeps the recordings for later.
    """
    # A new key gives an empty widget, once what it received has been taken over.
    number = st.session_state.setdefault("inputs", 0)
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="small"):
        st.file_uploader(
            "Your recordings",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key=f"uploads_{number}",
            on_change=_take_over,
            args=(f"uploads_{number}",),
            label_visibility="collapsed",
        )
        with st.popover("Record", icon=":material/mic:"):
            st.audio_input(
                "Microphone",
                sample_rate=SAMPLE_RATE,
                key=f"recording_{number}",
                on_change=_take_over,
                args=(f"recording_{number}", "Microphone recording"),
            )
            st.caption(
                "Browsers process a microphone's sound as speech: gain control and noise suppression change "
                "sirens, rain or birds. To test such sounds, record with another app and add the file."
            )
    recordings = own()
    _listing(recordings)
    _follow_example()
    if st.session_state["example"] is None and not recordings:
        # A default of the widget itself could not be deselected later.
        st.session_state["example"] = st.session_state.get("last_example") or EXAMPLES[0].key
    example = place_for_examples.pills(
        "Or an example",
        list(_TITLES),
        format_func=_TITLES.__getitem__,
        key="example",
        persist_state="session",
        wrap=False,
        help="Synthesised by this program from sines and noise, so that they can be shared; they are not recordings.",
    )
    query_params.keep("example", example, None if recordings else EXAMPLES[0].key)
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


def unknown_examples(classes: Collection[str]) -> None:
    """Name the examples that are of none of the networks' ``classes``."""
    unknown = [each.title for each in EXAMPLES if not is_known(each, classes)]
    if unknown:
        st.caption(f"Not among these networks' classes: {', '.join(unknown)}")


def choose_one(place_for_examples: DeltaGenerator, classes: Collection[str]) -> Source:
    """Like ``choose`` and ``unknown_examples``, for pages that show one clip: of several recordings, a select box picks one."""
    sources = choose(place_for_examples)
    with place_for_examples:
        unknown_examples(classes)
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
    recordings = own()
    _follow_example()
    example = st.session_state["example"] or (None if recordings else EXAMPLES[0].key)
    if example is not None:
        return _TITLES[example]
    names = {source.key: source.name for source in recordings}
    return names.get(st.session_state.get("current_clip", "")) or next(iter(names.values()), "your recording")


def own() -> list[Source]:
    """The visitor's own recordings on this page: those added here, or those that the address named when it was opened."""
    if "recordings" not in st.session_state:
        st.session_state["recordings"] = query_params.listed("recordings")
    found = get_recordings().find(_visitor(), st.session_state["recordings"])
    return [source.with_channel(st.session_state.get(_channel_key(source)) or "mean") for source in found]


def touch() -> None:
    """Note that the visitor is there: recordings of one who is not go first where memory is needed."""
    get_recordings().touch(_visitor())


def choose_channel(source: Source, clip: Clip) -> None:
    """Draw the choice of a channel where they differ so much that their mean is another sound; ``own`` applies it."""
    if clip.channel_spread_db <= CHANNELS_DIFFER_DB:
        return
    loudest = clip.channel_rms.index(max(clip.channel_rms))

    def title(channel: Channel) -> str:
        if not isinstance(channel, int):
            return f"Mean of all {clip.channels}"
        return f"Channel {channel}" + (", the loudest" if channel == loudest + 1 else "")

    st.selectbox(
        "Channel",
        ["mean", *range(1, clip.channels + 1)],
        format_func=title,
        key=_channel_key(source),
        persist_state="session",
        help=f"Its channels differ by more than {CHANNELS_DIFFER_DB:.0f} dB, so that their mean is not what one of them holds.",
    )


def _channel_key(source: Source) -> str:
    return f"channel_{source.address_key}"


def _follow_example() -> None:
    query_params.follow("example", query_params.named(_TITLES), None)


def _take_over(widget: str, name: str | None = None) -> None:
    """Keep what a widget has received, show it first, and give the widget's own copies up."""
    received = st.session_state.get(widget) or []
    files: list[UploadedFile | DeletedFile] = received if isinstance(received, list) else [received]
    added = []
    for file in files:
        if isinstance(file, DeletedFile):
            continue  # taken over by a run that was stopped before it drew a new widget
        source = Source.of_bytes(name or file.name, file.getvalue())
        added.append(get_recordings().keep(_visitor(), source).address_key)
        context = get_script_run_ctx()
        if context is not None:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)  # type: ignore[attr-defined]
    if added:
        before = [source.address_key for source in own()]
        st.session_state["recordings"] = list(dict.fromkeys(added + before))
        st.session_state["example"] = None
        st.session_state.pop("current_clip", None)
        st.session_state["inputs"] += 1


def _listing(recordings: list[Source]) -> None:
    """The recordings with buttons that remove them, and a line where one was refused or is gone."""
    keys = [source.address_key for source in recordings]
    gone = len(st.session_state["recordings"]) - len(keys)
    st.session_state["recordings"] = keys
    query_params.keep_list("recordings", keys)
    refusal = get_recordings().refusal(_session())
    if refusal:
        st.warning(refusal, icon=":material/block:")
    if gone:
        st.warning(
            f"{formats.plural(gone, 'recording')} of this page {'is' if gone == 1 else 'are'} no longer on this server: "
            f"recordings are kept for their own visitor alone, for {_KEPT} after their last use, and for less where others "
            "need the memory. Add them again.",
            icon=":material/history:",
        )
    if not recordings:
        return
    names = [formats.escaped(source.name) for source in recordings]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"Your recordings ({len(names)}):", width="content")
        for key, name in list(zip(keys, names, strict=True))[:_LISTED]:
            _remove_button(f"Remove {name}", f"remove_{key}", [key])
        if len(names) > 1:
            _remove_button("Remove all", "remove", keys)


def _remove_button(label: str, key: str, keys: list[str]) -> None:
    st.button(label, key=key, icon=":material/close:", type="tertiary", on_click=_remove, args=(keys,))


def _remove(keys: list[str]) -> None:
    get_recordings().remove(_visitor(), _session(), keys)
    left = [key for key in st.session_state["recordings"] if key not in keys]
    st.session_state["recordings"] = left
    if not left and st.session_state.get("example") is None:
        st.session_state["example"] = st.session_state.get("last_example") or EXAMPLES[0].key


def _visitor() -> str:
    """Whose recordings these are: the browser's, by its cookie, or, where it takes none, this session's."""
    return visitor(st.context.headers.get("Cookie", "")) or _session()


def _session() -> str:
    context = get_script_run_ctx()
    return "" if context is None else context.session_id
