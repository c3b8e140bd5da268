"""Files of events as other programs read them. Each is made from documents, which are what the JSON format holds: one a recording."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from core.audio import Clip
from core.events.detection import Event, EventSettings
from core.events.over_time import TimelineSettings
from core.tagging import Tagger
from core.units import guarded

Document = dict[str, Any]

_RAVEN_COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin File", "Begin Path", "File Offset (s)", "Annotation", "Confidence"),
)
"""Those that Raven writes itself, and two of our own, which it keeps as measurements."""

_TYPES = ("string", "float64", "float64", "string", "float64", "int64", "string")
_COLUMNS = ("path", "start_s", "end_s", "label", "probability", "index", "model")


def describe(tagger: Tagger, windows: TimelineSettings, settings: EventSettings) -> Document:
    """What the events of all recordings follow from: the part of their documents that they have in common."""
    return {
        "model": tagger.name,
        "sample_rate": tagger.entry.sample_rate,
        "settings": {
            **windows.describe(tagger),
            "min_confidence": settings.on,
            "off": settings.below,
            "min_length_s": settings.least_s,
            "max_gap_s": settings.gap_s,
        },
    }


def document(clip: Clip, events: Sequence[Event], described: Document, *, path: str, file: str) -> Document:
    """One recording's events with what they follow from; ``path`` is as the user gave it, ``file`` inside the folder that was given."""
    return {
        "path": path,
        "file": file,
        "clip": clip.describe(),
        **described,
        "notes": list(clip.notes),
        "events": [asdict(event) for event in events],
    }


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    name, title : as the command line and a page name it.
    suffix : what the name of a result ends in.
    content : the bytes of a file for one document, or for several.
    combined : whether one file can hold several recordings.
    read : the document that a file of one recording is made from, where the format has all of it; None of another program's file.
    """

    name: str
    title: str
    suffix: str
    content: Callable[[Document | Sequence[Document]], bytes]
    combined: bool = True
    read: Callable[[bytes], Document | None] = lambda _content: None


def _listed(documents: Document | Sequence[Document]) -> Sequence[Document]:
    return [documents] if isinstance(documents, dict) else documents


def _events(documents: Document | Sequence[Document]) -> Iterator[tuple[Document, dict[str, Any]]]:
    return ((one, event) for one in _listed(documents) for event in one["events"])


def _one_line(text: str) -> str:
    """A cell of a tab-separated file, which has no way to quote."""
    return " ".join(text.split())


def _json(documents: Document | Sequence[Document]) -> bytes:
    return (json.dumps(documents, allow_nan=False, indent=2) + "\n").encode()


def _read_json(content: bytes) -> Document | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return (
        document if isinstance(document, dict) and {"path", "events", "settings"} <= document.keys() else None
    )


def _audacity(documents: Document | Sequence[Document]) -> bytes:
    """A label track: start, end and label, without a header, times as Audacity itself exports them."""
    lines = (
        f"{event['onset_s']:.6f}\t{event['offset_s']:.6f}\t{_one_line(event['name'])}\n"
        for _, event in _events(documents)
    )
    return "".join(lines).encode()


def _raven(documents: Document | Sequence[Document]) -> bytes:
    """A selection table. Of several recordings the times go on from one to the next, as Raven counts them over a list of files."""
    lines = ["\t".join(_RAVEN_COLUMNS)]
    before = 0.0
    for one in _listed(documents):
        clip, path = one["clip"], one["path"]
        channel = 1 if clip["channel"] == "mean" else clip["channel"]
        highest = min(clip["sample_rate_hz"], one["sample_rate"]) / 2
        for event in one["events"]:
            onset, offset = event["onset_s"], event["offset_s"]
            cells = (
                *(str(len(lines)), "Spectrogram 1", str(channel)),
                *(f"{before + onset:.3f}", f"{before + offset:.3f}", "0.0", f"{highest:.1f}"),
                *(_one_line(clip["name"]), _one_line(path), f"{onset:.3f}"),
                *(_one_line(event["name"]), f"{event['probability']:.4f}"),
            )
            lines.append("\t".join(cells))
        before += clip["duration_s"]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _dcase(documents: Document | Sequence[Document]) -> bytes:
    """The annotations of DCASE's sound event detection task; a recording without events has no line."""
    lines = ["filename\tonset\toffset\tevent_label"]
    lines += [
        f"{_one_line(one['file'])}\t{event['onset_s']:.3f}\t{event['offset_s']:.3f}\t{_one_line(event['name'])}"
        for one, event in _events(documents)
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _table(documents: Document | Sequence[Document]) -> list[tuple[Any, ...]]:
    """The rows of ``_COLUMNS``."""
    return [
        (
            *(one["path"], event["onset_s"], event["offset_s"], event["name"], event["probability"]),
            *(event["index"], one["model"]),
        )
        for one, event in _events(documents)
    ]


def _csv(documents: Document | Sequence[Document]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in _table(documents):
        writer.writerow([guarded(value) if isinstance(value, str) else value for value in row])
    return file.getvalue().encode("utf-8", "backslashreplace")


def _parquet(documents: Document | Sequence[Document]) -> bytes:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")  # streamlit brings it
    rows = [
        [valid_text(value) if isinstance(value, str) else value for value in row] for row in _table(documents)
    ]
    arrays = [
        pyarrow.array([row[column] for row in rows], pyarrow.type_for_alias(kind))
        for column, kind in enumerate(_TYPES)
    ]
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=_COLUMNS), file)
    return file.getvalue()


def valid_text(text: str) -> str:
    """A text without what no UTF-8 has: a file's name may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


FORMATS = {
    form.name: form
    for form in (
        Format("json", "JSON", ".json", _json, read=_read_json),
        Format("csv", "CSV", ".csv", _csv),
        Format("audacity", "Audacity labels", ".txt", _audacity, combined=False),
        Format("raven", "Raven selection table", ".selections.txt", _raven),
        Format("dcase", "DCASE TSV", ".tsv", _dcase),
        Format("parquet", "Parquet", ".parquet", _parquet),
    )
}
"""The formats of events, by name."""
