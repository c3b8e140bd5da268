"""Which classes the Live page shows: all, those of a home, of one of AudioSet's categories, or chosen ones."""

from __future__ import annotations

from core.classes import CATEGORIES, ClassSet, audioset

ALL, DOMESTIC, CHOSEN = "all", "domestic", "chosen"

TITLES = {
    ALL: "All sounds",
    DOMESTIC: "Domestic sounds",
    **{str(number): name for number, name in enumerate(CATEGORIES)},
    CHOSEN: "Chosen classes",
}
"""Name in the address -> name on the page."""

_DOMESTIC_PARENTS = {"Domestic sounds, home sounds", "Domestic animals, pets", "Telephone", "Clock"}
"""AudioSet's names; all classes below them in its ontology are domestic."""

_DOMESTIC = (
    *(
        "Domestic animals, pets",
        "Telephone",
        "Clock",
        "Alarm clock",
        "Smoke detector, smoke alarm",
        "Fire alarm",
    ),
    *(
        "Buzzer",
        "Speech",
        "Baby cry, infant cry",
        "Laughter",
        "Cough",
        "Sneeze",
        "Snoring",
        "Walk, footsteps",
    ),
    *(
        "Glass",
        "Shatter",
        "Television",
        "Radio",
        "Mechanical fan",
        "Air conditioning",
        "Sewing machine",
        "Printer",
    ),
)
"""Classes that AudioSet lists elsewhere, and that a home has too."""


def allowed(sounds: str, chosen: tuple[int, ...]) -> frozenset[int] | None:
    """AudioSet's indices of the classes to show; None for all, those that AudioSet does not have included.

    Examples
    --------
    >>> allowed("all", ()), allowed("chosen", (289,))
    (None, frozenset({289}))
    >>> {audioset()[index].name for index in allowed("1", ())} >= {"Dog", "Purr"}
    True
    """
    if sounds == ALL or (sounds == CHOSEN and not chosen):
        return None
    if sounds == CHOSEN:
        return frozenset(chosen)
    if sounds == DOMESTIC:
        below = {
            known.index
            for known in audioset()
            if any(not _DOMESTIC_PARENTS.isdisjoint(path) for path in known.paths)
        }
        return frozenset(below.union(ClassSet.from_names(_DOMESTIC).indices))
    category = CATEGORIES[int(sounds)]
    return frozenset(known.index for known in audioset() if category in known.categories)
