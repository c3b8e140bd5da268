"""What should be known of a recording before its tags are read: it stands above every result."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from core.audio import MAX_SECONDS, Clip
from core.comparisons import Comparisons
from core.examples import EXAMPLES, Example
from core.units import beside_threshold, probability
from core.windows import Interface, input_notes
from dashboard import formats
from dashboard.server.source import Source
from dashboard.server.timelines import SETTINGS

_EXAMPLES = {example.key: example for example in EXAMPLES}


def is_known(example: Example, classes: Collection[str]) -> bool:
    """Whether one of an example's tags is among the networks' classes."""
    return any(tag in classes for tag in example.tags)


def notes(
    source: Source,
    clip: Clip,
    entries: Sequence[Interface],
    classes: Collection[str],
    compared: Comparisons | None = None,
) -> None:
    """Say what is unusual about the clip, what is done to it for the networks, and whether its class is among their ``classes``.

    Of an example that the networks were compared on, also whether they recognise it.
    """
    sentences = [f"{note[0].upper()}{note[1:].rstrip('.')}." for note in clip.notes]
    done = {entry.title: _done_to(clip, entry) for entry in entries}
    if len(set(done.values())) == 1:
        sentences += next(iter(done.values()))
    else:
        sentences += [
            f"For {title}: {note[0].lower()}{note[1:]}" for title, said in done.items() for note in said
        ]
    example = _EXAMPLES.get(source.example or "")
    if any(entry.output == "scenes" for entry in entries):
        sentences.append(f"Scenes are recognised, not sounds: the clip gets one of {len(classes)}.")
    elif example and not is_known(example, classes):
        sentences.append(
            f"“{example.tags[0]}” is not among the {len(classes)} classes of these networks: the tags that they give are of other sounds."
        )
    elif example and compared and (unrecognised := _unrecognised(example, compared)):
        sentences.append(unrecognised)
    # A place also without a note: what follows would otherwise move, from one clip to the next and back, while it is drawn.
    place = st.empty()
    if sentences:
        place.info(formats.escaped(" ".join(sentences)), icon=":material/info:")


def _done_to(clip: Clip, entry: Interface) -> tuple[str, ...]:
    if clip.duration_s <= MAX_SECONDS:
        return input_notes(clip, entry)
    return (
        f"Recordings of more than {formats.seconds(MAX_SECONDS)} are computed in the background, over time first: on windows of "
        f"{SETTINGS.window_s:g} s, and their tags are the means over these.",
    )


def _unrecognised(example: Example, compared: Comparisons) -> str:
    """That no network recognises what an example imitates, with the figures that they give it; nothing where one does."""
    likeliest = next(row for row in compared.rows() if row.name in example.tags)
    threshold = compared.first.agreement.threshold
    if likeliest.largest >= threshold:
        return ""
    given = [beside_threshold(value, threshold) for value in likeliest.probabilities if value is not None]
    figures = ", ".join(given[:-1]) + " and " * (len(given) > 1) + given[-1]
    return f"This example imitates “{likeliest.name}”, and these networks do not recognise it at {probability(threshold)}: they give it {figures}."
