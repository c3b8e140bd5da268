"""AudioSet's 527 classes, their positions in the ontology, and the sets of them that networks output.

The table (``core/data/audioset_classes.csv``) holds facts of the AudioSet ontology (Gemmeke et al., ICASSP
2017; github.com/audioset/ontology), (c) Google Inc., CC BY-SA 4.0. A class can have several parents
in the ontology: "Hiss" belongs to animals, to steam and to sounds without a source.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from core.errors import ModelError

CATEGORIES = (
    "Human sounds",
    "Animal",
    "Music",
    "Natural sounds",
    "Sounds of things",
    "Source-ambiguous sounds",
    "Channel, environment and background",
)


@dataclass(frozen=True)
class AudioSetClass:
    """One class of AudioSet.

    Attributes
    ----------
    index : int
        Its position among the 527, which is its output of a published network.
    mid : str
        Its identifier in the ontology.
    name : str
        Its display name.
    paths : tuple of tuple of str
        Its ancestors' names, outermost first, once for every position; one empty path for a top-level category.
    """

    index: int
    mid: str
    name: str
    paths: tuple[tuple[str, ...], ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """The top-level categories that it belongs to, for most classes one."""
        return tuple(dict.fromkeys(path[0] if path else self.name for path in self.paths))


@dataclass(frozen=True)
class ClassSet:
    """The classes of one network, in the order of its outputs, as indices of AudioSet's 527.

    Raises
    ------
    ModelError
        There are no classes, an index is not AudioSet's, or one is repeated.

    Examples
    --------
    >>> ClassSet((0, 289)).names
    ('Speech', 'Rain')
    """

    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.indices:
            raise ModelError("A model needs classes to tag with. Give at least one AudioSet class.")
        for index in self.indices:
            if not 0 <= index < len(audioset()):
                raise ModelError(
                    f"AudioSet has no class {index}. Give indices from 0 to {len(audioset()) - 1}."
                )
        if len(set(self.indices)) < len(self.indices):
            twice = next(index for index in self.indices if self.indices.count(index) > 1)
            raise ModelError(f'The class "{audioset()[twice].name}" is given twice. Give every class once.')

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> tuple[str, ...]:
        """The display names, in the order of the outputs."""
        return tuple(audioset()[index].name for index in self.indices)

    def in_categories(self, categories: Iterable[str]) -> npt.NDArray[np.bool_]:
        """(classes,) bool: which classes belong to at least one of these top-level categories.

        Raises
        ------
        ModelError
            A category is not in ``CATEGORIES``.
        """
        wanted = set(categories)
        for unknown in sorted(wanted.difference(CATEGORIES)):
            raise ModelError(f'AudioSet has no category "{unknown}". Give some of: {"; ".join(CATEGORIES)}.')
        return np.array([not wanted.isdisjoint(audioset()[index].categories) for index in self.indices])

    @classmethod
    def audioset(cls) -> ClassSet:
        """All 527, as the published networks have them."""
        return cls(tuple(range(len(audioset()))))

    @classmethod
    def from_names(cls, names: Iterable[str]) -> ClassSet:
        """The set with these display names, in this order.

        Raises
        ------
        ModelError
            A name is not AudioSet's; the message names the closest ones.
        """
        by_name = _by_name()
        indices = []
        for name in names:
            if name not in by_name:
                raise ModelError(_unknown(name))
            indices.append(by_name[name])
        return cls(tuple(indices))


@cache
def audioset() -> tuple[AudioSetClass, ...]:
    """AudioSet's 527 classes in the order of its class list."""
    table = resources.files(__package__).joinpath("data", "audioset_classes.csv").read_text(encoding="utf-8")
    return tuple(
        AudioSetClass(int(row["index"]), row["mid"], row["name"], _paths(row["parents"]))
        for row in csv.DictReader(table.splitlines())
    )


def _paths(parents: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(path.split(" > ")) if path else () for path in parents.split(" | "))


@cache
def _by_name() -> dict[str, int]:
    return {known.name: known.index for known in audioset()}


def _unknown(name: str) -> str:
    """The message for a name that AudioSet does not have, with the closest that it has."""
    lowered = {known.name.lower(): known.name for known in audioset()}
    close = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    containing = [known for lower, known in lowered.items() if name.strip() and name.strip().lower() in lower]
    near = list(dict.fromkeys([*(lowered[match] for match in close), *containing]))[:3]
    hint = (
        "Did you mean " + " or ".join(f'"{known}"' for known in near) + "?"
        if near
        else "Give a display name."
    )
    return f'AudioSet has no class "{name}". {hint}'
