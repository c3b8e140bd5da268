"""Trade-off: what each network costs, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import tradeoff
from core.tradeoff import System
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.tradeoff import charts, measuring, settings
from dashboard.tradeoff.table import table
from dashboard.widgets.theme import palette

_WHY = """
{small} reaches CNN14's published quality (mAP {small_map} against {large_map}) {ratios}. Pruning CNN14 is worth it

- where a network is in use already: it has been tested, its errors are known, and what follows was built for it;
- where its embedding is used: a classifier that was trained on CNN14's 2,048 values cannot read another network's. A pruned CNN14 keeps all of
  them, after a repair or fine-tuning close to what they were (measured on the demonstration network: docs/embeddings.md);
- where the classes are your own: a network that you have trained or fine-tuned can be pruned and repaired in minutes, without AudioSet and
  without a larger network to learn from.

**Where none of these holds, take {small}, or a wider one of its family.**
"""

_ABOUT = """
**Quality** is mean average precision on AudioSet's 527 classes, as the authors published it. The evaluation set is a list of videos, and they disappear: each
paper measured on those that were left (PANNs on 18,887 of 20,371), so that a few thousandths between two papers say nothing.

**Time** is measured here, from the waveform to the probabilities of 10 s, with the engine that would run the network, and with random weights, on which it does not
depend. It is the only one of the three costs that a person waits for; MACs say little about it across families, since depthwise convolutions and attention
use a processor worse than plain convolutions do.

**MACs** are multiply-accumulate operations of 10 s of audio, counted for all networks by one convention (thop's). Published *multi-adds* or FLOPs are about twice the MACs:
CNN14's 42.2 G multi-adds are 21.1 G MACs. Hollow points are figures as published, in their authors' own conventions, which leave out one part or another; they take no
part in the front. **Parameters** are those that training learns; hollow points are rounded by their authors.

**The dotted line** is the Pareto front: nothing is both cheaper and better than the networks on it. The orange line joins CNN14 to E-PANNs with a quarter, half and three
quarters of the filters of C7 to C12 removed and fine-tuned.

**Your own networks** join the picture, on an axis of their own, once they have been evaluated:
`pannscope evaluate -m FILE --manifest clips.csv --audio clips/ --keep`. The same works for a published network that is installed, which is the fairest
comparison: your classes, your clips.
"""


def page() -> None:
    """Read the widgets, draw the picture, the answer and the table."""
    st.title("Weigh quality against cost", anchor=False)
    chosen = settings.choose()
    times = tradeoff.measured()
    listed = tradeoff.systems(times, count_stft=chosen.count_stft)
    own = tradeoff.own_systems(tradeoff.kept_results(), count_stft=chosen.count_stft)
    missing = tuple(name for name in tradeoff.measurable() if name not in times)
    cost = chosen.cost if chosen.cost != "time" or times else "macs"
    st.header(_headline(listed, cost), anchor=False)
    if chosen.cost == "time":
        if cost != chosen.cost:
            st.caption("Nothing has been timed on this machine yet; until then the picture shows MACs.")
        measuring.panel(missing, primary=not times)
    _picture(listed, own, cost)
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.header("Why prune CNN14 at all, when mn04 exists?", anchor=False)
        st.markdown(_why(listed))
    with right:
        st.header("Every figure and its source", anchor=False)
        table(listed, own, cost)
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _picture(listed: Sequence[System], own: Sequence[System], cost: str) -> None:
    shown = [system for system in listed if cost in system.costs]
    owned = [system for system in own if cost in system.costs]
    front = tradeoff.front_of(shown, cost)
    st.plotly_chart(
        charts.tradeoff(shown, owned, cost, front, palette()),
        config=CONFIG,
        key="tradeoff_chart",
        alt=charts.alt(shown, owned, cost, front),
    )
    absent = [system.title for system in listed if cost not in system.costs]
    notes = [
        "To the left is cheaper, up is better; hover or tap a point for its figures and their sources.",
        "mAPs of different papers were measured on different survivors of AudioSet's evaluation videos.",
    ]
    if cost == "macs":
        notes.append(
            "Published multi-adds are twice the MACs. Hollow: as published, in the authors' own convention."
        )
    if absent:
        reason = "not timed" if cost == "time" else "no published count"
        notes.append(f"Not shown, {reason}: {', '.join(absent)}.")
    st.caption(" ".join(notes))


def _headline(listed: Sequence[System], cost: str) -> str:
    """The answer in one sentence: the cheapest network that is at least as good as CNN14."""
    by_name = {system.name: system for system in listed}
    large = by_name["cnn14"]
    as_good = [
        system
        for system in listed
        if cost in system.costs
        and system.quality.value >= large.quality.value
        and not (cost == "macs" and system.published)
    ]
    if cost not in large.costs or not as_good:
        return "Published quality of every network, and what it costs"
    best = min(as_good, key=lambda system: system.costs[cost].value)
    form, before = charts.FORMS[cost], large.costs[cost].value
    return (
        f"As good as CNN14 and cheapest by {charts.NOUNS[cost]}: {best.title}, {form(best.costs[cost].value)} "
        f"against {form(before)} ({formats.change(before, best.costs[cost].value)})"
    )


def _why(listed: Sequence[System]) -> str:
    by_name = {system.name: system for system in listed}
    large, small = by_name["cnn14"], by_name["mn04"]
    ratios = [
        f"with 1/{large.costs[cost].value / small.costs[cost].value:.0f} of its {noun}"
        for cost, noun in (("macs", "MACs"), ("params", "parameters"))
    ]
    if "time" in large.costs and "time" in small.costs:
        share = large.costs["time"].value / small.costs["time"].value
        ratios.append(f"in 1/{share:.1f} of its time here")
    return _WHY.format(
        small=small.title,
        small_map=f"{small.quality.value:.3f}",
        large_map=f"{large.quality.value:.3f}",
        ratios=f"{', '.join(ratios[:-1])} and {ratios[-1]}",
    )


page()
