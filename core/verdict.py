"""The result of a comparison in words, the same on the pages and on the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from core.compare import MARKED_FROM, Agreement, Comparison, Row, differs
from core.units import beside_threshold, plural, probability

NAMED = 3
"""Tags that a sentence names of each kind; where there are more, they are counted."""

SILENT = "The recording is silent: there is nothing to recognise"

Form = Callable[[str], str]


def headline(comparison: Comparison, baseline: str, candidate: str, escape: Form = str) -> str:
    """What pruning changed on a clip, in one sentence without a period; for a silent clip, that it is silent.

    Parameters
    ----------
    comparison : Comparison
        Both networks' tags of the clip.
    baseline, candidate : str
        The networks' names for people.
    escape : callable
        Makes names of classes safe where they are shown.

    Examples
    --------
    >>> from core.compare import compare
    >>> from core.examples import example_clip
    >>> from core.tagging import load_tagger
    >>> taggers = [load_tagger(name, runtime="torch") for name in ("demo-cnn14", "demo-epanns")]
    >>> headline(compare(example_clip("clock"), *taggers), "CNN14", "E-PANNs")
    'Both recognise Tick-tock and Tick; no difference above 0.10'
    """
    if comparison.clip.silent:
        return SILENT
    return verdict(comparison.agreement, baseline, candidate, escape)


def verdict(agreement: Agreement, baseline: str, candidate: str, escape: Form = str) -> str:
    """The tags that count, in one sentence without a period: which are kept, lost and gained.

    Where none is lost or gained, it says how far the networks differ on any class that both have.

    Parameters
    ----------
    agreement : Agreement
        Of both networks' tags.
    baseline, candidate, escape
        As in ``headline``.

    Examples
    --------
    >>> import numpy as np
    >>> from core.classes import ClassSet
    >>> from core.compare import agreement
    >>> from core.tags import Tags
    >>> def tags(*values):
    ...     names = ClassSet.from_names(["Dog", "Rain", "Clock"])
    ...     return Tags("", names, np.array(values, np.float32), "torch", 1.0, ((0.0, 10.0),))
    >>> verdict(agreement(tags(0.1, 0.9, 0.95), tags(0.1, 0.9, 0.16)), "CNN14", "Pruned")
    'Pruned loses Clock (0.95 → 0.16); both recognise Rain'
    >>> verdict(agreement(tags(0.1, 0.1, 0.9), tags(0.7, 0.1, 0.8)), "CNN14", "Pruned")
    'Pruned gains Dog (0.10 → 0.70); both recognise Clock'
    >>> verdict(agreement(tags(0.1, 0.1, 0.15), tags(0.1, 0.1, 0.05)), "CNN14", "Pruned")
    'Neither recognises any of 3 classes at 0.20; the likeliest is Clock (0.15 → 0.05)'
    >>> verdict(agreement(tags(0.9, 0.1, 0.18), tags(0.85, 0.1, 0.02)), "CNN14", "Pruned")
    'Both recognise Dog (0.90 → 0.85); largest difference 0.16 (Clock)'
    """
    kept, lost, gained = (agreement.rows_of(change) for change in ("kept", "lost", "gained"))
    threshold = agreement.threshold

    def with_figures(rows: Sequence[Row]) -> str:
        return _listed([f"{_quoted(row.name, escape)} {_figures(row, threshold)}" for row in rows])

    def names(rows: Sequence[Row]) -> str:
        return _listed([_quoted(row.name, escape) for row in rows])

    if lost or gained:
        changes = [
            f"{verb} {with_figures(rows)}" for verb, rows in (("loses", lost), ("gains", gained)) if rows
        ]
        text = f"{candidate} {(', and ' if len(lost) > 1 else ' and ').join(changes)}"
        text += f"; both recognise {names(kept)}" if kept else ""
    elif kept:
        text = f"Both recognise {with_figures(kept) if len(kept) == 1 else names(kept)}"
        text += _furthest(agreement, kept if len(kept) == 1 else (), escape)
    else:
        shared = agreement.shared_classes
        scope = (
            f"any of {'the ' * bool(agreement.one_sided)}{shared} classes" if shared > 1 else "the only class"
        )
        scope += " that both have" if agreement.one_sided else ""
        text = f"Neither recognises {scope} at {probability(threshold)}; the likeliest is {with_figures([agreement.likeliest])}"
        text += _furthest(agreement, [agreement.likeliest], escape)
    for model, rows in (
        (baseline, [row for row in agreement.one_sided if row.candidate is None]),
        (candidate, [row for row in agreement.one_sided if row.baseline is None]),
    ):
        if rows:
            text += f"; only {model} has the class{'es' if len(rows) > 1 else ''} {names(rows)}"
    return text


def summary(agreements: Sequence[Agreement], candidate: str, escape: Form = str) -> str:
    """The tags that count on several recordings, in sentences: how many are kept, and which are lost and gained most often.

    Parameters
    ----------
    agreements : sequence of Agreement
        One a recording, at least one, all at the same threshold.
    candidate, escape
        As in ``headline``.

    Examples
    --------
    >>> import numpy as np
    >>> from core.classes import ClassSet
    >>> from core.compare import agreement
    >>> from core.tags import Tags
    >>> def tags(*values):
    ...     names = ClassSet.from_names(["Dog", "Rain"])
    ...     return Tags("", names, np.array(values, np.float32), "torch", 1.0, ((0.0, 10.0),))
    >>> pairs = [agreement(tags(0.9, 0.1), tags(0.8, 0.1)), agreement(tags(0.1, 0.9), tags(0.7, 0.1))]
    >>> summary(pairs, "E-PANNs")
    'E-PANNs keeps 1 of 2 tags at 0.20 on 2 recordings; 1 of them is unchanged. Lost: Rain. Gained: Dog.'
    """
    kept, lost, gained = (
        [row for each in agreements for row in each.rows_of(change)] for change in ("kept", "lost", "gained")
    )
    total, recordings = len(kept) + len(lost), len(agreements)
    at = f"at {probability(agreements[0].threshold)} on {plural(recordings, 'recording')}"
    if not (total or gained):
        return f"Neither network recognises anything {at}."
    every = {1: "the only tag", 2: "both tags"}.get(total, f"all {total} tags")
    if not total:
        text = f"{candidate} only gains tags {at}"
    elif not kept:
        text = f"{candidate} loses {every} {at}"
    elif not lost:
        text = f"{candidate} keeps {every} {at}"
    else:
        text = f"{candidate} keeps {len(kept)} of {total} tags {at}"
    if recordings > 1 and (lost or gained):
        unchanged = sum(not (each.lost or each.gained) for each in agreements)
        text += f"; {unchanged or 'none'} of them {'are' if unchanged > 1 else 'is'} unchanged"
    text += "."
    for heading, rows in (("Lost", lost), ("Gained", gained)):
        counts = Counter(_quoted(row.name, escape) for row in rows).most_common()
        names = [name + (f" ({number})" if number > 1 else "") for name, number in counts]
        text += f" {heading}: {_listed(names)}." if names else ""
    return text


def _furthest(agreement: Agreement, shown: Sequence[Row], escape: Form) -> str:
    """How far the networks differ on any class that both have; nothing where that is one whose figures are ``shown``."""
    if not differs(agreement.max_abs_difference):
        return f"; no difference above {probability(MARKED_FROM)}"
    if agreement.max_difference_tag in (row.name for row in shown):
        return ""
    figure = probability(agreement.max_abs_difference)
    return f"; largest difference {figure} ({_quoted(agreement.max_difference_tag, escape)})"


def _figures(row: Row, threshold: float) -> str:
    before, after = (beside_threshold(value or 0.0, threshold) for value in (row.baseline, row.candidate))
    return f"({before} → {after})"


def _quoted(name: str, escape: Form) -> str:
    """A class's name, in quotation marks where it has a comma of its own."""
    return f"“{escape(name)}”" if "," in name else escape(name)


def _listed(texts: Sequence[str]) -> str:
    """'A', 'A and B', 'A, B and C', 'A, B, C and 2 more'."""
    shown = list(texts[:NAMED])
    if len(texts) > NAMED:
        shown.append(f"{len(texts) - NAMED} more")
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
