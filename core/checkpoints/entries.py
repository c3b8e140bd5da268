"""The manifest: every known checkpoint, the path of its file, and whether it can be used now."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from core.errors import CheckpointError
from core.models.registry import ARCHITECTURES
from core.settings import ROOT, weights_dir

CHECKPOINTS_DIR = ROOT / "checkpoints"
"""The folder with the manifest and the embedded pair."""

MANIFEST = CHECKPOINTS_DIR / "manifest.toml"

COUNTED = "counted by Pannscope (docs/conventions.md)"
"""The source of figures that nobody else states."""

KINDS = ("embedded", "official", "published")
_FLOAT32 = 4  # bytes
_AUDIOSET = 527  # classes


@dataclass(frozen=True)
class Entry:
    """One checkpoint of the manifest.

    Attributes
    ----------
    name, title : as typed on the command line, and as shown.
    architecture : a name of ``core.models.registry`` (or one that Pannscope does not build).
    kind : "embedded" (in the repository), "official" (downloaded on request) or "published" (there is no file to use).
    file : file name, without a folder; None for "published".
    url, record : where it is downloaded, and the Zenodo record whose API lists its checksum.
    size_bytes, md5, sha256 : as published; None where the manifest does not know.
    licence, source, about : the weights' licence, their authors, and a description in one sentence.
    family : networks of one family are listed together.
    paper : the paper, as "arXiv:…".
    widths, embedding : filters of each convolution and units before the classifier; None where they are not data.
    classes : "audioset" (all 527), or the display names of the network's outputs.
    published_mAP, mAP_source : on AudioSet's evaluation set, as published, and where it is published.
    params, macs_10s : trainable parameters, and multiply-accumulate operations for a 10 s clip (see the manifest's head
        for the convention).
    stft_10s, stft_counted : operations of its short-time Fourier transform as two Conv1d layers, 0 where it has none or they are not
        known; whether ``macs_10s`` includes them.
    figures_source : who states ``params`` and ``macs_10s``; None where they are counted.
    """

    name: str
    title: str
    architecture: str
    kind: str
    licence: str
    source: str
    about: str
    file: str | None = None
    url: str | None = None
    record: str | None = None
    size_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    widths: tuple[int, ...] | None = None
    embedding: int | None = None
    classes: str | tuple[str, ...] = "audioset"
    family: str = "Others"
    paper: str | None = None
    published_mAP: float | None = None  # noqa: N815 (as the literature writes it)
    mAP_source: str | None = None  # noqa: N815
    params: int | None = None
    macs_10s: int | None = None
    stft_10s: int = 0
    stft_counted: bool = True
    figures_source: str | None = None

    @property
    def download_bytes(self) -> int:
        """Size of the file that is downloaded; where it was not published, that of the weights in float32."""
        return self.size_bytes or _FLOAT32 * (self.params or 0)

    @property
    def class_count(self) -> int:
        """How many classes the network knows."""
        return _AUDIOSET if isinstance(self.classes, str) else len(self.classes)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CheckpointError(
                f"Checkpoint {self.name!r} has kind {self.kind!r}; use one of {', '.join(KINDS)}."
            )
        if self.kind != "published" and not self.file:
            raise CheckpointError(f"Checkpoint {self.name!r} is {self.kind} and names no file; add one.")
        if self.file is not None and PurePath(self.file).name != self.file:
            raise CheckpointError(
                f"Checkpoint {self.name!r} names the file {self.file!r}; give a name without a folder."
            )
        if self.kind == "official" and not (self.url or "").startswith(("https://", "http://")):
            raise CheckpointError(f"Checkpoint {self.name!r} is official and has no http(s) url; add one.")
        if self.published_mAP is not None and not self.mAP_source:
            raise CheckpointError(f"Checkpoint {self.name!r} has an mAP without its source; add mAP_source.")


def read_manifest(path: Path = MANIFEST) -> dict[str, Entry]:
    """Read a manifest file: name -> ``Entry``, in the file's order. Raises ``CheckpointError``."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("checkpoint", [])
    except FileNotFoundError:
        raise CheckpointError(
            f"The manifest {path} is missing; it is part of Pannscope: install it again."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The manifest {path} cannot be read: {error}.") from error
    entries: dict[str, Entry] = {}
    for table in tables:
        listed = _entry(table, path)
        if listed.name in entries:
            raise CheckpointError(f"The manifest {path} lists {listed.name!r} twice; names are unique.")
        entries[listed.name] = listed
    return entries


def _entry(table: dict[str, Any], path: Path) -> Entry:
    known = {field.name for field in fields(Entry)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise CheckpointError(
            f"The manifest {path} has an unknown field {unknown[0]!r}; known are {sorted(known)}."
        )
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    try:
        return Entry(**values)
    except TypeError as error:
        raise CheckpointError(
            f"The manifest {path}: {table.get('name', 'an entry without a name')}: {error}."
        ) from error


@lru_cache(maxsize=1)
def _manifest() -> dict[str, Entry]:
    return read_manifest()


def manifest() -> dict[str, Entry]:
    """Every known checkpoint, name -> ``Entry``, in the order in which they are shown."""
    return dict(_manifest())


def entry(name: str) -> Entry:
    """A checkpoint of the manifest; the ``CheckpointError`` for an unknown name lists the known ones.

    Examples
    --------
    >>> entry("epanns").title
    'E-PANNs'
    >>> entry("epans")
    Traceback (most recent call last):
    core.errors.CheckpointError: Unknown checkpoint 'epans'; known are ... Did you mean epanns?
    """
    known = _manifest()
    if name in known:
        return known[name]
    if named_file(str(name)):
        raise CheckpointError(
            f"{name} is a file, and a model's name is accepted here: `pannscope models` lists them. Commands that run a network take a file "
            "as --model, and load_tagger as checkpoint=."
        )
    close = get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise CheckpointError(f"Unknown checkpoint {name!r}; known are {', '.join(known)}.{hint}")


def named_file(text: str) -> Path | None:
    """The checkpoint file that a text names where a model's name is accepted, too; None for such a name, or one that is mistyped.

    Examples
    --------
    >>> named_file("epanns"), named_file("runs/mine.pth").name
    (None, 'mine.pth')
    """
    path = Path(text)
    is_path = os.sep in text or path.suffix in (".safetensors", ".pth", ".pt", ".onnx") or path.is_file()
    return path if is_path and text not in _manifest() else None


def path_of(checkpoint: Entry) -> Path:
    """The path of the checkpoint's file, which need not have been fetched yet. Raises ``CheckpointError`` if it has none."""
    if checkpoint.file is None:
        raise CheckpointError(
            f"{checkpoint.title} is known from its publication only ({checkpoint.source}): there is no file to use."
        )
    return (CHECKPOINTS_DIR if checkpoint.kind == "embedded" else weights_dir()) / checkpoint.file


def buildable(checkpoint: Entry) -> bool:
    """Whether Pannscope can build the checkpoint's architecture."""
    return checkpoint.architecture in ARCHITECTURES


def missing_package(checkpoint: Entry) -> str | None:
    """Which package has to be installed before a checkpoint can be used, in a sentence; None where there is none."""
    known = ARCHITECTURES.get(checkpoint.architecture)
    if known is None or known.extra is None or known.extra.installed:
        return None
    return known.extra.missing(checkpoint.title)


def status(checkpoint: Entry) -> str:
    """How a checkpoint can be used now.

    Returns
    -------
    str
        "embedded" (in the repository), "installed" (downloaded), "available" (``fetch`` gets it), or "published-only" (there
        is nothing to load, or Pannscope does not build its architecture).

    Examples
    --------
    >>> status(entry("demo-cnn14")), status(entry("epanns-75"))
    ('embedded', 'published-only')
    """
    if checkpoint.kind == "embedded":
        return "embedded"
    if checkpoint.kind == "published" or not buildable(checkpoint):
        return "published-only"
    return "installed" if _complete(checkpoint) else "available"


def _complete(checkpoint: Entry) -> bool:
    path = path_of(checkpoint)
    try:
        size = path.stat().st_size
    except OSError:
        return False
    return path.is_file() and size > 0 and checkpoint.size_bytes in (None, size)
