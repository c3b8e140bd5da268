"""Visitors' own checkpoints: loaded by the rules of any file, and each for the session that uploaded it.

The session holds its networks. Here they are found by their names as long as a session does, so that one is freed with its session.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

from core import checkpoints
from core.audio.messages import display_name
from core.checkpoints.info import NUMBERED
from core.classes import parse_labels
from core.errors import CheckpointError, ModelError, PannscopeError
from core.tagging import Tagger, load_tagger
from core.units import plural

SUFFIXES = ("safetensors", "pth", "pt", "ckpt", "bin")

_HASH_DIGITS = 16


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A network that a visitor uploaded.

    Attributes
    ----------
    name : the file's stem and part of its content's sha256; the pages and caches know the network by it.
    title : the file's name, of letters, digits and -_.= alone, so that it can be shown anywhere.
    tagger : the network.
    """

    name: str
    title: str
    tagger: Tagger


_known: weakref.WeakValueDictionary[str, OwnNetwork] = weakref.WeakValueDictionary()


def load_own(file_name: str, content: bytes) -> OwnNetwork:
    """Load an uploaded file; its name becomes no path, and no path of the server stands in an error.

    Raises
    ------
    CheckpointError
        As for any file, with the file's name in place of its path.
    """
    stem, suffix = os.path.splitext(os.path.basename(file_name.replace("\\", "/")))
    safe = "".join(letter if letter.isalnum() or letter in "-_.=" else "-" for letter in stem)[:60].strip(
        ".-"
    )
    safe = safe or "checkpoint"
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        path = Path(folder) / (safe + (suffix if suffix[1:] in SUFFIXES else ""))
        try:
            path.write_bytes(content)
            loaded = load_tagger(checkpoint=path)
        except PannscopeError as error:
            raise CheckpointError(str(error).replace(folder + os.sep, "")) from None
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be kept: {error.strerror}; try again later.") from None
    name = f"{safe}-{loaded.info.sha256[:_HASH_DIGITS]}"
    info = replace(loaded.info, name=name, path=Path(path.name))
    own = OwnNetwork(name, path.name, Tagger(loaded.model, info))
    return _known.setdefault(name, own)


def with_labels(own: OwnNetwork, file_name: str, content: bytes) -> OwnNetwork:
    """A network whose outputs have the names that an uploaded file lists, as the command line's ``--labels`` reads them.

    Raises
    ------
    ModelError
        The file is no list of names, or has another number of them than there are outputs.
    """
    shown = display_name(file_name)
    classes, outputs = parse_labels(content, shown), len(own.tagger.classes)
    if len(classes) != outputs:
        raise ModelError(
            f"{shown} has {plural(len(classes), 'name')} and {own.title} has {plural(outputs, 'output')}; give one name an output."
        )
    names = hashlib.sha256("\n".join(classes.names).encode()).hexdigest()
    name = (
        f"{own.name}-{names[:_HASH_DIGITS]}"  # another network to the caches: their results have class names
    )
    notes = tuple(note for note in own.tagger.info.notes if note != NUMBERED)
    info = replace(own.tagger.info, name=name, classes=classes, notes=notes)
    return _known.setdefault(name, OwnNetwork(name, own.title, Tagger(own.tagger.model, info)))


def find_own(name: str) -> OwnNetwork | None:
    """A network that some session holds, by its name."""
    return _known.get(name)


def title(name: str) -> str:
    """A network's name for people, of the list or of a visitor's own. Raises ``CheckpointError``."""
    own = find_own(name)
    return own.title if own else checkpoints.entry(name).title


def file_bytes(name: str) -> int:
    """Size of a network's file."""
    own = find_own(name)
    return own.tagger.info.size_bytes if own else checkpoints.path_of(checkpoints.entry(name)).stat().st_size


def is_demonstration(name: str) -> bool:
    """Whether a network is one of the embedded pair."""
    return find_own(name) is None and checkpoints.entry(name).kind == "embedded"
