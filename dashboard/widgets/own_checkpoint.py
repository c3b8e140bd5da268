"""A visitor's own checkpoints: the upload, and which networks a session can choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.audio.messages import display_name
from core.checkpoints.info import NUMBERED
from core.comparisons import MOST
from core.errors import CheckpointError, ModelError
from core.onnx_tagger.network import ASSUMED_LOGITS, ASSUMED_PROBABILITIES, SampleRateError
from dashboard import formats
from dashboard.server.models import usable_models
from dashboard.server.own_networks import (
    SUFFIXES,
    Hold,
    OwnNetwork,
    get_holds,
    load_own,
    titles,
    with_labels,
    with_outputs,
)
from dashboard.server.server import get_server

OTHERS = MOST - 2
"""Networks that are compared besides a baseline and a candidate."""

Place = Literal["candidate", "baseline", "also", "network"]
"""The key of a page's select."""

_PLACES: dict[Place, str] = {"candidate": "Candidate", "baseline": "Baseline", "also": "And also"}

_NAMES_SHOWN = 8
_SELECTS = ("baseline", "candidate", "network")
_OWN, _READ, _ERROR = "own_networks", "own_checkpoint_read", "own_checkpoint_error"
_RATE_OF = "own_checkpoint_without_rate"
_RATES = (16_000, 32_000, 48_000, 44_100, 22_050, 8_000)


def choices() -> dict[str, str]:
    """The networks that this session can choose from, name -> title: those of the list that can be loaded, then its own."""
    listed = {name: entry.title for name, entry in usable_models().items()}
    own = list(_own())
    return listed | dict(zip(own, titles(own), strict=True))


def upload(place: DeltaGenerator, places: Sequence[Place]) -> None:
    """Draw the upload in ``place``; a network that arrives becomes the value of one of these selects, which are drawn later."""
    with place:
        chosen = places[0] if len(places) == 1 else _choose_place(places)
        largest = int(st.get_option("server.maxUploadSize"))
        file = st.file_uploader(
            f"A network of yours, pruned or not, up to {largest} MB",
            type=list(SUFFIXES),
            key="own_checkpoint",
            help="A safetensors file, one of torch.save, or an ONNX file that takes a waveform. Nothing in it is executed; an ONNX graph runs in "
            "a process of its own. It is loaded for your session alone, and removed when the session ends or you upload a fifth one. A larger file (CNN14's own has 327 MB): the command line, or half precision.",
        )
        if file is None:
            if st.session_state.pop(_READ, None) is not None:  # the file was removed from the widget
                st.session_state.pop(_ERROR, None)
                st.session_state.pop(_RATE_OF, None)
        elif st.session_state.get(_READ) != file.file_id:
            st.session_state[_READ] = file.file_id
            _load(file, chosen)
        if file is not None and st.session_state.get(_RATE_OF) == file.file_id:
            _choose_rate(file, chosen)
        own = _own()
        if error := st.session_state.get(_ERROR):
            st.error(formats.escaped(error), icon=":material/error:")
        shown = titles(list(own))
        for network, name in zip(own.values(), shown, strict=True):
            _describe(network, name)
            if NUMBERED in network.tagger.info.notes:
                _name_outputs(network)
            _state_outputs(network)


def _choose_place(places: Sequence[Place]) -> Place:
    chosen: Place = st.segmented_control(
        "Show it as",
        places,
        format_func=_PLACES.__getitem__,
        default=places[0],
        required=True,
        key="own_place",
        help=f"Up to {MOST} networks can be yours.",
    )
    return chosen


def _own() -> dict[str, OwnNetwork]:
    """The session's networks by name; those that the server has released are listed as gone."""
    holds: dict[str, Hold] = st.session_state.setdefault(_OWN, {})
    found = {name: get_holds().touch(hold) for name, hold in holds.items()}
    gone = [holds[name].title for name, network in found.items() if network is None]
    if gone:
        st.session_state[_OWN] = {name: hold for name, hold in holds.items() if found[name] is not None}
        st.session_state[_ERROR] = (
            f"{' and '.join(gone)}: no longer in this server's memory, which others needed while you were away. Upload it again."
        )
    return {name: network for name, network in found.items() if network is not None}


def _load(file: UploadedFile, chosen: Place, sample_rate: int | None = None) -> None:
    for key in (_ERROR, _RATE_OF):
        st.session_state.pop(key, None)
    try:
        with st.spinner("Loading and trying it …"):
            own = load_own(file.name, file.getvalue(), sample_rate)
        _hold(own, own.name)
    except SampleRateError:
        st.session_state[_RATE_OF] = file.file_id
    except CheckpointError as error:
        st.session_state[_ERROR] = str(error)
    else:
        _show(own.name, chosen)


def _show(name: str, chosen: Place) -> None:
    """Choose a network in a select; where one takes several and is full, in the place of the last."""
    if chosen != "also":
        st.session_state[chosen] = name
        return
    others = [other for other in st.session_state.get("also", []) if other != name]
    st.session_state["also"] = [*others[: OTHERS - 1], name]


def _choose_rate(file: UploadedFile, chosen: Place) -> None:
    """Draw the choice of the rate of an ONNX file that does not say it; the file is loaded with it."""
    rate = st.selectbox(
        f"Sample rate of {formats.escaped(display_name(file.name))}",
        _RATES,
        index=None,
        format_func=lambda rate: f"{rate / 1000:g} kHz",
        key="onnx_rate",
        placeholder="The file does not say it",
        help="The rate of the waveforms that the network was trained on. At another rate it runs, and recognises little.",
    )
    if rate is not None:
        _load(file, chosen, rate)
        st.rerun()


def _hold(own: OwnNetwork, replaced: str) -> None:
    """Keep a network for the session, in place of the one of the name ``replaced`` or else of the oldest. Raises ``CheckpointError``."""
    hold = get_holds().hold(own)
    get_server().forget_with(own)
    holds: dict[str, Hold] = st.session_state.get(_OWN, {})
    kept = {name: held for name, held in holds.items() if name not in (own.name, replaced)}
    st.session_state[_OWN] = dict(list(kept.items())[1 - MOST :]) | {own.name: hold}


def _name_outputs(own: OwnNetwork) -> None:
    """Draw the upload of a list of names; a network that gets them takes the unnamed one's place, in the selects too."""
    file = st.file_uploader(
        f"Names of the outputs of {formats.escaped(own.title)}",
        type=["txt", "csv"],
        key=f"labels {own.name}",
        help="A text file with one name a line, in the order of the outputs, or AudioSet's class_labels_indices.csv.",
    )
    if file is None:
        return
    try:
        named = with_labels(own, file.name, file.getvalue())
        _hold(named, own.name)
    except (ModelError, CheckpointError) as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
        return
    _replace(own, named)


def _state_outputs(own: OwnNetwork) -> None:
    """Draw a button for an ONNX file that does not say what it outputs, where the guess is wrong."""
    assumed = {ASSUMED_LOGITS: False, ASSUMED_PROBABILITIES: True}
    for note, logits in assumed.items():
        if note in own.tagger.info.notes and st.button(
            f"The outputs are {'logits' if logits else 'probabilities'}",
            key=f"outputs {own.name}",
            type="tertiary",
        ):
            stated = with_outputs(own, logits=logits)
            _hold(stated, own.name)
            _replace(own, stated)


def _replace(own: OwnNetwork, by: OwnNetwork) -> NoReturn:
    """Choose a network in another's place wherever that is chosen, and draw the page anew."""
    for select in _SELECTS:
        if st.session_state.get(select) == own.name:
            st.session_state[select] = by.name
    others: list[str] = st.session_state.get("also", [])
    st.session_state["also"] = [by.name if name == own.name else name for name in others]
    st.rerun()


def _describe(own: OwnNetwork, shown: str) -> None:
    names = own.tagger.classes.names
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    notes = " ".join(own.tagger.info.notes)
    text = (
        f"{shown}: {formats.plural(len(names), 'output')} ({', '.join(names[:_NAMES_SHOWN])}{more}). {notes}"
    )
    st.caption(formats.escaped(text))
    st.button(
        f"Remove {formats.escaped(shown)}",
        key=f"remove {own.name}",
        icon=":material/close:",
        type="tertiary",
        on_click=_remove,
        args=(own.name,),
    )


def _remove(name: str) -> None:
    holds: dict[str, Hold] = st.session_state[_OWN]
    st.session_state[_OWN] = {other: hold for other, hold in holds.items() if other != name}
    st.session_state.pop(_ERROR, None)
