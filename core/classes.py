"""AudioSet's 527 classes, their positions in the ontology, and the sets of them that networks output.

The table (``core/data/audioset_classes.csv``) holds facts of the AudioSet ontology (Gemmeke et al., ICASSP
2017; github.com/audioset/ontology), (c) Google Inc., CC BY-SA 4.0. A class can have several parents
in the ontology: "Hiss" belongs to animals, to steam and to sounds without a source.
"""

from __future__ import annotations

import csv
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.class_search import closest_classes, find_classes
from core.errors import ModelError

_MAX_LABEL_BYTES = 1 << 20

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
    """The classes of one network, in the order of its outputs.

    Attributes
    ----------
    indices : tuple of int
        AudioSet's indices. A class that AudioSet does not have gets a number from 527 on that follows from its name, so that
        two networks' classes are the same where their names are.
    own : tuple of str
        The display names, where AudioSet does not have all of them; else empty.

    Raises
    ------
    ModelError
        There are no classes, an index is not AudioSet's, or one is repeated.

    Examples
    --------
    >>> ClassSet((0, 289)).names
    ('Speech', 'Rain')
    >>> ClassSet.named(["Rain", "Drone"]).names
    ('Rain', 'Drone')
    """

    indices: tuple[int, ...]
    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.indices:
            raise ModelError("A model needs classes to tag with. Give at least one AudioSet class.")
        for index in () if self.own else self.indices:
            if not 0 <= index < len(audioset()):
                raise ModelError(
                    f"AudioSet has no class {index}. Give indices from 0 to {len(audioset()) - 1}."
                )
        if len(set(self.indices)) < len(self.indices):
            counts = Counter(self.indices)
            twice = next(
                name for index, name in zip(self.indices, self.names, strict=True) if counts[index] > 1
            )
            raise ModelError(f'The class "{twice}" is given twice. Give every class once.')

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property  # asked for once a tag
    def names(self) -> tuple[str, ...]:
        """The display names, in the order of the outputs."""
        return self.own or tuple(audioset()[index].name for index in self.indices)

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
        return np.array([not wanted.isdisjoint(top_categories(index)) for index in self.indices])

    @classmethod
    def audioset(cls) -> ClassSet:
        """All 527, as the published networks have them."""
        return cls(tuple(range(len(audioset()))))

    @classmethod
    def named(cls, names: Iterable[str]) -> ClassSet:
        """The set with these display names, in this order, whether AudioSet has them or not; each is cut to one printable line."""
        own = tuple(_line(name) for name in names)
        known = _by_name()
        indices = tuple(
            known[name] if name in known else len(audioset()) + zlib.crc32(name.encode()) for name in own
        )
        return cls(indices, () if all(name in known for name in own) else own)

    @classmethod
    def unnamed(cls, outputs: int) -> ClassSet:
        """Stands for the classes of a network whose file does not name them: "output 1" and so on."""
        return cls.named(f"output {number + 1}" for number in range(outputs))

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


def labels_table(classes: ClassSet) -> str:
    """AudioSet's table of classes, one row an output, as ``parse_labels`` reads it; a class that AudioSet does not have has no ``mid``.

    Names are quoted, and nothing else, as in AudioSet's own file: sherpa-onnx reads no others.

    Examples
    --------
    >>> print(labels_table(ClassSet.named(["Rain", "Drone"])), end="")
    index,mid,display_name
    0,/m/06mb1,"Rain"
    1,,"Drone"
    """
    known = audioset()
    rows = ["index,mid,display_name"]
    for number, (index, name) in enumerate(zip(classes.indices, classes.names, strict=True)):
        mid, doubled = known[index].mid if index < len(known) else "", name.replace('"', '""')
        rows.append(f'{number},{mid},"{doubled}"')
    return "\n".join(rows) + "\n"


def read_labels(path: Path) -> ClassSet:
    """The classes that a file names, see ``parse_labels``.

    Raises
    ------
    ModelError
        The file cannot be read, or as ``parse_labels``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels.txt")
    ...     _ = file.write_text("Drone\\nBaby cry, infant cry\\n")
    ...     read_labels(file).names
    ('Drone', 'Baby cry, infant cry')
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LABEL_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_labels(content, str(path))


def parse_labels(content: bytes, source: str) -> ClassSet:
    """The classes that a file's bytes name: one name a line, or AudioSet's table with the columns ``index``, ``mid`` and ``display_name``.

    A row whose ``mid`` is one of AudioSet's 527 is that class, however its name is written.

    Parameters
    ----------
    content : bytes
    source : what to call the file.

    Raises
    ------
    ModelError
        It is not text, over 1 MB, or names a class twice or none.

    Examples
    --------
    >>> parse_labels(b"index,mid,display_name\\n1,/m/02,Rain\\n0,/m/01,Drone\\n", "labels.csv").names
    ('Drone', 'Rain')
    """
    try:
        text = content.decode("utf-8-sig")
        if len(content) > _MAX_LABEL_BYTES or "\0" in text:
            raise ModelError(f"{source} is no list of names: it is not text, or over 1 MB.")
        lines = text.splitlines()
        if not lines or "display_name" not in lines[0].split(","):
            return ClassSet.named(line for line in lines if line.strip())
        table = list(csv.DictReader(lines))
        table.sort(key=lambda row: int(row["index"]))
        if [int(row["index"]) for row in table] != list(range(len(table))):
            raise ModelError(f"{source} has to number its classes from 0 on, each once, in its column index.")
        by_mid = _by_mid()
        return ClassSet.named(by_mid.get(row.get("mid") or "", row["display_name"] or "") for row in table)
    except (UnicodeDecodeError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise ModelError(
            f"{source} is no list of names; give a text file with one name a line, or AudioSet's class_labels_indices.csv."
        ) from error


def top_categories(index: int) -> tuple[str, ...]:
    """The top-level categories of a class by its index in a ``ClassSet``; none for one that AudioSet does not have."""
    return audioset()[index].categories if index < len(audioset()) else ()


def paths_of(index: int) -> tuple[tuple[str, ...], ...]:
    """The places of a class in the ontology by its index in a ``ClassSet``; none for one that AudioSet does not have."""
    return audioset()[index].paths if index < len(audioset()) else ()


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


def _line(name: str) -> str:
    """A name as one printable line of at most 120 characters."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in name[:1000]).split())
    if not text:
        raise ModelError("A class has no name. Give every class a name.")
    return text[:120]


@cache
def _by_name() -> dict[str, int]:
    return {known.name: known.index for known in audioset()}


@cache
def _by_mid() -> dict[str, str]:
    return {known.mid: known.name for known in audioset()}


def _unknown(name: str) -> str:
    """The message for a name that AudioSet does not have, with the closest that it has."""
    names = [known.name for known in audioset()]
    near = list(dict.fromkeys([*closest_classes(name, names), *find_classes(name, names)]))[:3]
    hint = (
        "Did you mean " + " or ".join(f'"{known}"' for known in near) + "?"
        if near
        else "Give a display name."
    )
    return f'AudioSet has no class "{name}". {hint}'
