"""The Prune page's healing: for how long and on what, its progress with the agreement as it rises, and what became of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import streamlit as st

from core.errors import PannscopeError
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts
from dashboard.prune.charts import Across, Line
from dashboard.prune.cut import Cut
from dashboard.server.healing import MINUTES, PREPARING, Healing, HealSettings, Point, healed_what, split
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.server.source import example_sources
from dashboard.widgets import query_params
from dashboard.widgets.choice import choose_one
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.theme import palette

_CLIPS = {"own": "My recordings", "examples": "Examples", "both": "Both"}

_JOBS, _PROBLEM = "heal_jobs", "heal_problem"
_QUARTERS = tuple((step / 4, formats.percent(step / 4)) for step in range(5))


def choose() -> int:
    """Draw the choice of the minutes, and return it: 0 for no healing."""
    titles = {"0": "Off"} | {str(minutes): f"{minutes}{formats.NBSP}min" for minutes in MINUTES}
    return int(
        choose_one(
            "Heal without labels, for",
            "heal",
            titles,
            "0",
            help_text="Training: the unpruned network is distilled into the pruned one, on your recordings or the examples. It regains more than "
            "repair where much was removed, and takes the minutes that you choose; the page can be used meanwhile.",
        )
    )


def settings(minutes: int, recordings: int) -> HealSettings | None:
    """Draw the rest of the settings where the network is to be healed, and return all; ``recordings`` is the number of the visitor's."""
    if not minutes:
        return None
    clips = "examples"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if recordings:
            titles = _CLIPS | {"own": f"{_CLIPS['own']} ({recordings})"}
            clips = choose_one("Learn from", "heal_clips", titles, "own")
        query_params.follow("heal_repaired", {"true": True, "false": False}.get, default=True)
        repaired = st.toggle(
            "Repair first",
            key="heal_repaired",
            persist_state="session",
            help="Least squares take seconds, and healing starts from what they reach.",
        )
        query_params.keep("heal_repaired", "" if repaired else "false", "")
    return HealSettings(minutes, clips, repaired)


def jobs() -> Mapping[Hashable, Hashable]:
    """This visitor's healings, by what was healed and how."""
    started: dict[Hashable, Hashable] = st.session_state.setdefault(_JOBS, {})
    return started


def panel(cut: Cut) -> None:
    """The button that starts it, its progress with a way to stop it, and its result."""
    if cut.heal is None:
        return
    if cut.empty:
        st.caption("Nothing is removed, so there is nothing to heal.")
        return
    healer, key, known = get_server().healing, cut.heal_key, cut.healing
    assert key is not None

    def idle(status: JobStatus | None) -> None:
        if status is not None and status.message:
            st.caption(formats.escaped(status.message))
        _offer(cut)

    job_panel(
        "heal",
        lambda: healer.status(key),
        lambda status: _progress(status, cut.heal),
        lambda: healer.cancel(key),
        idle,
        above=lambda: _curve(cut, healer.points(key), healer.status(key)),
        outdated=lambda: healer.result(key) is not known,
        cancel_label="Stop here",
    )


def note(cut: Cut) -> str:
    """What the tags' caption says of a healed network."""
    healing = cut.healing
    assert healing is not None
    assert cut.heal is not None
    if cut.source.key in healing.learned:
        here = " This clip is among them, so agreement is better here than on other clips."
    elif cut.source.key in healing.held_out:
        here = " This clip is not among them."
    else:
        here = ""
    repaired = "repaired, then healed" if cut.heal.repaired else "healed"
    clips = formats.plural(len(healing.learned), "clip")
    return f"Here it is {repaired} for {formats.minutes(healing.seconds)} on {clips}, without labels.{here}"


def _offer(cut: Cut) -> None:
    """What was done, and the button."""
    healing, chosen = cut.healing, cut.heal
    assert chosen is not None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        label = f"Heal for {chosen.minutes}{formats.NBSP}min"
        st.button(
            label if healing is None else "Heal again",
            key="start_heal",
            icon=":material/healing:",
            type="secondary" if healing is None else "tertiary",
            on_click=_start,
            args=(cut,),
        )
        text = _plan(cut) if healing is None else _done(healing, cut)
        st.caption(st.session_state.pop(_PROBLEM, None) or text, width="stretch")


def _plan(cut: Cut) -> str:
    """What a healing would learn from, and what it would be measured on."""
    assert cut.heal is not None
    learned, held = split(cut.recordings, cut.heal.clips)
    text = f"Learns from {formats.plural(len(learned), 'clip')}. "
    examples = {source.key for source in example_sources()}
    if not held:
        return (
            f"{text}That is too few to hold one out: there will be no curve of agreement, which is never measured on what the network "
            "learns from. Add recordings (three are enough), or choose both."
        )
    if held[0].key in examples and cut.heal.clips == "both":
        return f"{text}Your recordings are too few to hold one out: agreement is measured on {len(held)} examples that it does not learn from."
    kind = "the examples" if held[0].key in examples else "your recordings"
    return f"{text}Agreement is measured on {len(held)} of {kind}, which it does not learn from."


def _done(healing: Healing, cut: Cut) -> str:
    assert cut.heal is not None
    stopped = " (stopped)" if healing.seconds < 0.97 * 60 * cut.heal.minutes else ""
    text = f"Healed for {formats.minutes(healing.seconds)}{stopped}, {formats.whole(healing.steps)} steps. The page shows the healed network."
    if not healing.points:
        return f"{text} No clip was held out, so that its agreement on other clips is not known."
    first, last = healing.points[0], healing.points[-1]
    held = formats.plural(len(healing.held_out), "clip")
    kept = (
        ""
        if first.kept is None or last.kept is None
        else f"kept tags from {formats.percent(first.kept)} to {formats.percent(last.kept)}, "
    )
    return (
        f"{text} On {held} that it did not learn from: {kept}mean difference of a probability from {first.difference:.3f} to "
        f"{last.difference:.3f}."
    )


def _curve(cut: Cut, points: tuple[Point, ...], status: JobStatus | None) -> None:
    """The agreement as it rises; while it is measured the chart stands from the start, so that nothing moves when the first point comes."""
    chosen = cut.heal
    assert chosen is not None
    coming = status is not None and status.active and bool(split(cut.recordings, chosen.clips)[1])
    if not points and not coming:
        return
    minutes = [point.seconds / 60 for point in points]
    lines = [Line("probabilities", minutes, [1 - point.difference for point in points], "dash")]
    kept = [(at, point.kept) for at, point in zip(minutes, points, strict=True) if point.kept is not None]
    if kept:
        lines.insert(0, Line("kept tags", [at for at, _ in kept], [value for _, value in kept]))
    st.plotly_chart(
        charts.curves(
            lines,
            [],
            palette=palette(),
            y_title="agreement",
            y_range=(0.0, 1.0),
            y_ticks=_QUARTERS,
            form=formats.tenths_of_percent,
            across=_axis(chosen.minutes),
        ),
        config=CONFIG,
        key="healing_curve",
        alt=charts.curves_alt(
            lines,
            "Agreement on the held-out clips",
            formats.tenths_of_percent,
            _axis(chosen.minutes),
        ),
    )
    st.caption(
        "Agreement with the unpruned network on clips that are not learned from. Kept tags: of those with 0.50 or more in either network, "
        "the share that both have. Probabilities: 100 % less the mean difference over the ten likeliest tags."
    )


def _axis(most: int) -> Across:
    """An axis of ``most`` minutes."""
    return Across(
        "minutes",
        (-0.015 * most, 1.015 * most),
        [(most * step / 5, f"{most * step / 5:g}") for step in range(6)],
        lambda value: f"{value:.1f}",
        "{} min",
    )


def _progress(status: JobStatus, chosen: HealSettings | None) -> str:
    if status.doing == PREPARING:
        return status.doing
    if status.doing != "Healing" or chosen is None:
        return job_progress(status)
    return f"Healing: {formats.minutes(status.done)} of {chosen.minutes}{formats.NBSP}min"


def _start(cut: Cut) -> None:
    assert cut.heal is not None
    try:
        key = get_server().healing.start(cut, cut.heal)
    except PannscopeError as error:
        st.session_state[_PROBLEM] = formats.escaped(str(error))
    else:
        st.session_state[_JOBS][healed_what(cut, cut.heal)] = key
