"""Which network a file's weights belong to, where its tensors alone do not say it.

PANNs' ``Cnn14_DecisionLevelMax`` (and ``Avg``) has CNN14's tensors and another forward pass: it must not be run as a CNN14 unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from core.checkpoints.entries import manifest
from core.checkpoints.selection import description, places
from core.checkpoints.torchfile import FOLDER
from core.checkpoints.weights import WeightFile
from core.errors import CheckpointError

_DECISION_LEVEL = re.compile(r"(cnn14)?[ _.-]*decision[ _.-]*level[ _.-]*(max|avg|att)?", re.IGNORECASE)
_MOST_DICTS, _MOST_TEXTS, _LONGEST_TEXT = 100, 1_000, 200


def assumed(file: WeightFile, sha256: str, chosen: str, *, stated: str | None) -> list[str]:
    """What is assumed when the weights of ``file`` are run as the architecture ``chosen``, as notes.

    Parameters
    ----------
    file : WeightFile
        A file without a description of Pannscope's.
    sha256 : str
        Of its content: a published file is known by it.
    chosen : str
        The architecture that its tensors fit.
    stated : str or None
        The architecture that the caller names, which is then not questioned.

    Raises
    ------
    CheckpointError
        The file calls itself a network with another forward pass. The message lacks the file's name.
    """
    published = any(entry.sha256 == sha256 and entry.architecture == chosen for entry in manifest().values())
    if published or description(file).get("architecture") == chosen:
        return []
    name = next(filter(None, map(_DECISION_LEVEL.search, _names(file))), None)
    if name is None and stated is None:
        return [
            f"Its tensors fit {chosen}, and that was assumed: nothing in the file says so, and PANNs' Cnn14_DecisionLevelMax has the "
            "same ones. --architecture states it."
        ]
    if name is None:
        return []
    if stated is None:
        raise CheckpointError(
            f"calls itself {name[0].strip(' _.-')!r}: that network has {chosen}'s tensors but another forward pass, which Pannscope "
            f"does not compute. Use the {chosen} of the same authors, or --architecture {chosen} to run these weights as one all the same"
        )
    return [
        f"It calls itself {name[0].strip(' _.-')!r} and is run as a plain {stated}, as --architecture says."
    ]


def _names(file: WeightFile) -> Iterator[str]:
    """What a file calls itself: its own name, the name that it was saved under, and short texts beside its weights."""
    yield file.path.name
    yield file.notes.get(FOLDER, "")
    for _path, place in islice(places(file.root), _MOST_DICTS):
        for value in islice(place.values(), _MOST_TEXTS):
            if isinstance(value, str):
                yield value[:_LONGEST_TEXT]
