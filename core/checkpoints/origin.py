"""Which network a file's weights belong to, where its tensors alone do not say it.

PANNs' ``Cnn14_DecisionLevelMax`` (and ``Avg``) has CNN14's tensors and another forward pass, and without the frozen front end the networks
at 16 and 8 kHz have them, too: none may be run as another unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from core.checkpoints.entries import manifest
from core.checkpoints.selection import description, places
from core.checkpoints.torchfile import FOLDER
from core.checkpoints.weights import WeightFile
from core.models.recognition import tensor_names
from core.models.registry import architecture

_MOST_DICTS, _MOST_TEXTS, _LONGEST_TEXT = 100, 1_000, 200

_FAMILY, _LEAST_LETTERS = "cnn14", 8
"""A variant of CNN14 may be named without it where enough is left: "DecisionLevelMax", but not "16k"."""


def choose(file: WeightFile, sha256: str, candidates: Sequence[str]) -> tuple[str, list[str]]:
    """The architecture of the network in a file, and as a note what was assumed.

    Parameters
    ----------
    file : WeightFile
        A file without a description of Pannscope's.
    sha256 : str
        Of its content: a published file is known by it, or by its name.
    candidates : sequence of str
        The architectures that its tensors fit, at least one.
    """
    known = [each for each in manifest().values() if sha256 == each.sha256 or file.path.name == each.file]
    stated = [description(file).get("architecture"), *(each.architecture for each in known)]
    for name in (*stated, _called(file, candidates)):
        if name in candidates:
            return str(name), []
    chosen, *others = candidates
    if not others:
        return chosen, []
    titles = [architecture(name).title for name in others]
    listed = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    return chosen, [
        f"Its tensors fit {architecture(chosen).title}, and that was assumed: nothing in the file says so, and {listed} "
        f"ha{'s' if len(others) == 1 else 've'} the same ones."
    ]


def contradiction(file: WeightFile, stated: str) -> list[str]:
    """A note where a file calls itself a network with the same tensors as the one that the caller names."""
    names = tensor_names()
    called = _called(file, [name for name in names if names[name] == names.get(stated)])
    if called in (None, stated):
        return []
    return [
        f"It calls itself {architecture(str(called)).title} and is run as {architecture(stated).title}, as requested."
    ]


def _called(file: WeightFile, candidates: Sequence[str]) -> str | None:
    """Which of some architectures a file calls itself; None where it does not, or where the name is that of several."""
    wanted = {_letters(name): name for name in candidates}
    for text in map(_letters, _texts(file)):
        said = [
            letters
            for letters in wanted
            if letters in text
            or (len(rest := letters.removeprefix(_FAMILY)) >= _LEAST_LETTERS and rest in text)
        ]
        if said:
            longest = max(said, key=len)
            if not any(other != longest and other.startswith(longest) for other in wanted):
                return wanted[longest]
    return None


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _texts(file: WeightFile) -> Iterator[str]:
    """What a file calls itself: its own name, the name that it was saved under, and short texts beside its weights."""
    yield file.path.name
    yield file.notes.get(FOLDER, "")
    for _path, place in islice(places(file.root), _MOST_DICTS):
        for value in islice(place.values(), _MOST_TEXTS):
            if isinstance(value, str):
                yield value[:_LONGEST_TEXT]
