"""Embeddings of recordings, of the whole or of one window after the other, and the files that they are written to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from core.audio import SAMPLE_RATE, Clip
from core.events import Document, Format, TimelineSettings, valid_text
from core.events.over_time import Samples, sliding_windows
from core.onnx_tagger.network import OnnxNetwork, no_embedding
from core.tagging import Tagger
from core.windows import EMBEDDING_SECONDS, clip_windows, least_samples, window_mean

_DESCRIBED = ("model", "sha256", "sample_rate", "settings")
_COLUMNS = ("path", "start_s", "end_s", "embedding")


def describe(tagger: Tagger, windows: TimelineSettings | None) -> Document:
    """What the embeddings of all recordings follow from; raises ``ModelError`` where the network has none, or takes no such windows."""
    if isinstance(tagger.network, OnnxNetwork) and not tagger.network.embedding:
        raise no_embedding(tagger.entry.title)
    lengths = (None, None) if windows is None else windows.samples(tagger.entry)
    window_s, hop_s = (None if samples is None else samples / SAMPLE_RATE for samples in lengths)
    settings = {"window_s": window_s, "hop_s": hop_s}
    facts = (tagger.name, tagger.info.sha256, tagger.entry.sample_rate, settings)
    return dict(zip(_DESCRIBED, facts, strict=True))


def embed(
    tagger: Tagger,
    clip: Clip,
    windows: TimelineSettings | None = None,
    on_progress: Callable[[float], object] = lambda _share: None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """The embedding of a clip, or of each of its windows, in bounded memory.

    Returns
    -------
    edges_s : (rows, 2) float64
        Start and end of every row in seconds.
    embeddings : (rows, units) float32
        One row of the whole clip, or one a window: every hop, and one more at the end where they do not reach it.

    Examples
    --------
    >>> from core.examples import example_clip
    >>> from core.tagging import load_tagger
    >>> tagger = load_tagger("demo-epanns", runtime="torch")
    >>> edges_s, embeddings = embed(tagger, example_clip("siren"), TimelineSettings(4.0, 0.5))
    >>> edges_s.tolist(), embeddings.shape
    ([[0.0, 4.0], [2.0, 6.0], [4.0, 8.0], [5.0, 9.0]], (4, 512))
    """
    spans = []

    def reported(parts: Iterable[tuple[int, int, Samples]]) -> Iterator[Samples]:
        for start, end, part in parts:
            yield part
            spans.append((start, end))
            on_progress(min(1.0, end / clip.samples))

    if windows is None:
        whole = clip_windows(max(clip.samples, least_samples(tagger.entry)), tagger.entry, EMBEDDING_SECONDS)
        with closing(clip.segments(whole)) as segments:
            pieces = ((*span, part) for span, part in zip(whole, segments, strict=True))
            embeddings = tagger.embeddings(reported(pieces))
        return np.array([[0.0, clip.samples / SAMPLE_RATE]]), window_mean(list(embeddings))[None]
    with closing(clip.blocks()) as blocks:
        embeddings = tagger.embeddings(reported(sliding_windows(blocks, *windows.samples(tagger.entry))))
    return np.array(spans) / SAMPLE_RATE, embeddings


def document(
    clip: Clip,
    edges_s: npt.NDArray[np.float64],
    embeddings: npt.NDArray[np.float32],
    described: Document,
    *,
    path: str,
    file: str,
) -> Document:
    """One recording's embeddings with what they follow from; ``path`` is as the user gave it, ``file`` inside the folder that was given."""
    return {
        "path": path,
        "file": file,
        "clip": clip.describe(),
        **described,
        "notes": list(clip.notes),
        "start_s": edges_s[:, 0],
        "end_s": edges_s[:, 1],
        "embedding": embeddings,
    }


def plain(document: Document) -> Document:
    """A document as JSON has it: lists in place of arrays."""
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in document.items()
    }


def _columns(documents: Document | Sequence[Document]) -> dict[str, Any]:
    """``_COLUMNS`` of all rows, and what describes them as JSON."""
    listed = [documents] if isinstance(documents, dict) else documents
    counts = [len(one["embedding"]) for one in listed]
    columns: dict[str, Any] = {"path": np.repeat([valid_text(one["path"]) for one in listed], counts)}
    columns |= {name: np.concatenate([one[name] for one in listed]) for name in _COLUMNS[1:]}
    return columns | {"description": json.dumps({name: listed[0][name] for name in _DESCRIBED})}


def _npz(documents: Document | Sequence[Document]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **_columns(documents))
    return file.getvalue()


def _read_npz(content: bytes) -> Document | None:
    """The document of one recording's file; None of another program's."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            columns = {name: stored[name] for name in _COLUMNS}
            described = json.loads(str(stored["description"]))
            return {**described, **columns, "path": str(columns["path"][0])}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _parquet(documents: Document | Sequence[Document]) -> bytes:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")  # streamlit brings it
    columns = _columns(documents)
    values = columns["embedding"]
    embeddings = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1])
    arrays = [*(pyarrow.array(columns[name]) for name in _COLUMNS[:-1]), embeddings]
    table = pyarrow.table(arrays, names=_COLUMNS)
    file = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"pannscope": columns["description"]}), file)
    return file.getvalue()


FORMATS = {
    form.name: form
    for form in (
        Format("npz", "NumPy archive", ".npz", _npz, read=_read_npz),
        Format("parquet", "Parquet", ".parquet", _parquet),
    )
}
"""The formats of embeddings, by name."""
