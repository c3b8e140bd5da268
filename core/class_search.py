"""Finding classes by a few letters of their names, and the closest names where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.5  # difflib's ratio, from 0 to 1


def find_classes(text: str, names: Iterable[str]) -> list[str]:
    """The names that hold every word of a text, or its beginning, in any order; case and punctuation do not matter.

    Names that begin with the text come first, then those with a word that does, then the others, each in the order given.

    Parameters
    ----------
    text : str
        What is typed; without a letter or a digit nothing is found.
    names : iterable of str
        The names of a network's classes.

    Examples
    --------
    >>> names = ["Civil defense siren", "Siren", "Tick-tock", "Police car (siren)", "Desire"]
    >>> find_classes("sire", names)
    ['Siren', 'Civil defense siren', 'Police car (siren)', 'Desire']
    >>> find_classes("tick tock", names), find_classes("siren police", names), find_classes("?", names)
    (['Tick-tock'], ['Police car (siren)'], [])
    """
    wanted = _plain(text)
    words = wanted.split()

    def order(name: str) -> int:
        plain = _plain(name)
        return 0 if plain.startswith(wanted) else 1 if f" {wanted}" in plain else 2

    found = [name for name in names if words and all(word in _plain(name) for word in words)]
    return sorted(found, key=order)


def closest_classes(text: str, names: Iterable[str]) -> list[str]:
    """At most three names that are spelled most like a text, best first.

    Examples
    --------
    >>> closest_classes("syren", ["Siren", "Rain", "Dog"])
    ['Siren']
    """
    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(name.lower(), name)
    close = difflib.get_close_matches(text.lower(), by_plain, n=3, cutoff=_CLOSE)
    return [by_plain[match] for match in close]


def _plain(text: str) -> str:
    """Lower-case words with single spaces between them."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())
