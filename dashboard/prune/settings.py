"""The settings of the Prune page; each is part of the page's address, so that a copied link restores them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import PruningError
from core.pruning.criteria import CRITERIA
from core.pruning.plan import PruningPlan
from core.pruning.ratios import parse_ratios
from dashboard import formats
from dashboard.server.structure import Structure
from dashboard.widgets import query_params
from dashboard.widgets.choice import choose_one

DEFAULT_CRITERION = next(iter(CRITERIA))
RATIO = 50
HIGHEST = 90
ROUNDINGS = (1, 4, 8, 16, 32)
REPAIRS = {"off": "Off", "clip": "This clip", "examples": "Examples", "both": "Both"}
"""The clips that repair is calibrated on: name in the address -> name on the page."""

_HIGHEST_PER_LAYER = 99
_PENDING, _SHOWN, _ADDRESS = "plan_to_show", "shown_plan", "ratios"
_LAYERS_OF = "layers_of"


@dataclass(frozen=True)
class PruneSettings:
    """What to remove, and how.

    Attributes
    ----------
    criterion : how filters are ranked.
    ratios : (layer, ratio) of every layer that is pruned, in the network's order.
    layers : the layers that the common slider applies to.
    ratio : the common ratio, or None where every layer has its own.
    round_to : numbers of kept filters are rounded to a multiple of this.
    plan : the loaded or found plan that these settings come from, while none of them has been changed.
    """

    criterion: str
    ratios: tuple[tuple[str, float], ...]
    layers: tuple[str, ...] = ()
    ratio: float | None = None
    round_to: int = 1
    plan: PruningPlan | None = None

    @property
    def touched(self) -> tuple[str, ...]:
        """The layers that are pruned, or would be at another position of the common slider."""
        return self.layers if self.ratio is not None else tuple(layer for layer, _ in self.ratios)


def use_plan(plan: PruningPlan) -> None:
    """Make the next run show this plan: it sets every widget, each layer's slider included."""
    st.session_state[_PENDING] = plan


def use_common(criterion: str, layers: tuple[str, str], percent: int) -> None:
    """Set every widget to one ratio for a range of layers, before the next run."""
    st.session_state.pop(_SHOWN, None)
    values = {"criterion": criterion, "layers": layers, "ratio": percent, "own": False, "round_to": 1}
    for key, value in values.items():
        st.session_state[key] = value


def choose(
    structure: Structure,
    row: DeltaGenerator,
    main: DeltaGenerator,
    folded: DeltaGenerator,
) -> PruneSettings:
    """Draw the widgets in the given containers and read them."""
    _show_pending(structure)
    plan: PruningPlan | None = st.session_state.get(_SHOWN)
    query_params.follow("criterion", query_params.named({name: name for name in CRITERIA}), DEFAULT_CRITERION)
    criterion = row.selectbox(
        "Criterion",
        list(CRITERIA),
        key="criterion",
        persist_state="session",
        help="How filters are ranked; the lowest-ranked ones are removed.\n\n"
        + "\n".join(f"- **{entry.name}**: {entry.about}" for entry in CRITERIA.values()),
    )
    first, last = _choose_range(structure, row)
    names = structure.layers
    layers = names[names.index(first) : names.index(last) + 1]
    query_params.follow("own", {"true": True, "false": False}.get, default=False)
    own = folded.toggle(
        "Each layer its own ratio",
        key="own",
        persist_state="session",
        on_change=_start_from_common,
        args=(structure,),
        help="Starts from the common ratio. A loaded plan, or one found by a search, sets these sliders.",
    )
    query_params.follow("ratio", query_params.whole(0, HIGHEST), RATIO)
    ratio = main.slider(
        "Share of filters to remove",
        0,
        HIGHEST,
        format="%d %%",
        key="ratio",
        persist_state="session",
        disabled=own,
        help="Of each chosen layer. "
        + (
            "Every layer has its own ratio now, see below."
            if own
            else "E-PANNs has 50 %, of CNN14's last six."
            if structure.numbered
            else ""
        ),
    )
    query_params.follow("round_to", {str(number): number for number in ROUNDINGS}.get, 1)
    rounding = folded.segmented_control(
        "Round widths to multiples of",
        ROUNDINGS,
        required=True,
        key="round_to",
        persist_state="session",
        help="Multiples of 8 or 16 filters run faster on most processors. The nearest multiple is kept, so that slightly more "
        "or fewer filters are removed than the ratio says.",
    )
    round_to = rounding or 1
    ratios: dict[str, float] = dict.fromkeys(layers, ratio / 100)
    if own:
        ratios = _own_ratios(structure, ratios, folded)
    query_params.keep("criterion", criterion, DEFAULT_CRITERION)
    query_params.keep("layers", f"{first}-{last}", "-".join(_default_range(structure)))
    query_params.keep("own", "true" if own else "", "")
    query_params.keep("ratio", ratio, RATIO)
    query_params.keep("round_to", round_to, 1)
    query_params.keep(
        _ADDRESS,
        ",".join(f"{layer}={value:g}" for layer, value in ratios.items() if value > 0) if own else "",
        "",
    )
    ratios = {layer: value for layer, value in ratios.items() if value > 0}
    if not (plan and own and _still_matches(plan, structure, ratios, criterion, round_to)):
        plan = None
    return PruneSettings(
        criterion=criterion,
        ratios=tuple(ratios.items()),
        layers=tuple(layers),
        ratio=None if own else ratio / 100,
        round_to=round_to,
        plan=plan,
    )


def choose_repair(recordings: int) -> str:
    """Draw the choice of the clips that repair runs on, and return it.

    ``recordings`` is the number of the visitor's recordings, 0 while an example is shown.
    """
    titles = REPAIRS | ({"clip": "My recordings"} if recordings > 1 else {})
    return choose_one(
        "Repair without labels, calibrated on",
        "repair",
        titles,
        "off",
        help_text="No training: batch-norm statistics are measured again, and the layer after each pruned layer is refitted by least "
        "squares to its outputs before pruning. Both run on a few calibration clips: the current clip or all of your recordings, "
        "the synthesised examples without the current one, or both. Agreement on a clip that repair was calibrated on is better "
        "than on other clips.",
    )


def _choose_range(structure: Structure, row: DeltaGenerator) -> tuple[str, str]:
    """The first and the last of the layers that the common slider applies to."""
    names, default = structure.layers, _default_range(structure)
    query_params.follow("layers", _reader(names), default)
    if st.session_state.get(_LAYERS_OF, structure.architecture) != structure.architecture or not set(
        st.session_state["layers"]
    ) <= set(names):
        st.session_state["layers"] = default
    st.session_state[_LAYERS_OF] = structure.architecture
    if len(names) == 1:
        return default
    numbers = {layer: layer if structure.numbered else str(number) for number, layer in enumerate(names, 1)}
    first, last = row.select_slider(
        "Layers" if structure.numbered else "Layers, by number",
        names,
        default,  # without a default it would not be a range
        format_func=lambda layer: numbers.get(layer, layer),
        key="layers",
        persist_state="session",
        help=f"The convolutions that are pruned, from input to output; {structure.title} has {len(names)} whose filters can be removed."
        + (" Those that share their filters count once." if any(structure.coupled.values()) else "")
        + ("" if structure.numbered else " The picture of the network has the numbers with the names.")
        + (
            f" The paper prunes {structure.text(structure.default_layers)}." if default[0] != names[0] else ""
        ),
    )
    return first, last


def _default_range(structure: Structure) -> tuple[str, str]:
    return structure.default_layers[0], structure.default_layers[-1]


def _own_ratios(
    structure: Structure, common: Mapping[str, float], folded: DeltaGenerator
) -> dict[str, float]:
    """A slider per layer. Together they are one query parameter, in the command line's notation of ratios."""

    def read(text: str) -> dict[str, float] | None:
        try:
            return parse_ratios(text, structure.layers)
        except PruningError:
            return None

    query_params.follow(_ADDRESS, read, None)
    linked = st.session_state.pop(_ADDRESS)
    for layer in structure.layers:
        if linked is not None or layer not in st.session_state:
            st.session_state[layer] = _slider_value((linked or common).get(layer, 0.0))
    ratios = {}
    with folded.grid(4, min_column_width=140, gap="small"):
        for layer, filters in structure.filters.items():
            others = structure.coupled[layer]
            ratios[layer] = (
                st.slider(
                    f"{layer} :small[:gray[{formats.whole(filters)} filters]]",
                    0,
                    _HIGHEST_PER_LAYER,
                    format="%d %%",
                    key=layer,
                    persist_state="session",
                    help=f"Its outputs are added to others', so that these lose the same filters: {', '.join(others)}."
                    if others
                    else None,
                )
                / 100
            )
    return ratios


def _reader(names: Sequence[str]) -> Callable[[str], tuple[str, str] | None]:
    """A reader of the first and the last layer of 'C7-C12', 'C7,C12' or 'C9'."""

    def read(text: str) -> tuple[str, str] | None:
        named = text.lower().replace("-", ",").split(",")
        known = [layer for layer in names if layer.lower() in named]
        return (known[0], known[-1]) if known and len(known) == len(set(named)) else None

    return read


def _start_from_common(structure: Structure) -> None:
    """Start every layer's slider at the common ratio when the toggle is switched on."""
    st.session_state.pop(_SHOWN, None)
    if not st.session_state["own"]:
        return
    names = structure.layers
    first, last = (names.index(layer) for layer in st.session_state.get("layers", (names[0], names[-1])))
    for index, layer in enumerate(names):
        st.session_state[layer] = st.session_state["ratio"] if first <= index <= last else 0


def _show_pending(structure: Structure) -> None:
    plan: PruningPlan | None = st.session_state.pop(_PENDING, None)
    if plan is None:
        return
    st.session_state[_SHOWN] = plan
    st.session_state["own"] = True
    st.session_state["criterion"] = plan.criterion
    if plan.round_to in ROUNDINGS:
        st.session_state["round_to"] = plan.round_to
    for layer in structure.layers:
        st.session_state[layer] = _slider_value(plan.ratios.get(layer, 0.0))


def _slider_value(ratio: float) -> int:
    return min(_HIGHEST_PER_LAYER, round(100 * ratio))


def _still_matches(
    plan: PruningPlan, structure: Structure, ratios: Mapping[str, float], criterion: str, round_to: int
) -> bool:
    """Whether the widgets are still where the plan has set them, and the plan still fits the network."""
    same = all(
        round(100 * ratios.get(layer, 0.0)) == _slider_value(plan.ratios.get(layer, 0.0))
        for layer in structure.layers
    )
    rounded = round_to == plan.round_to or plan.round_to not in ROUNDINGS
    fits = plan.architecture == structure.architecture and plan.widths == structure.config.widths
    return same and rounded and criterion == plan.criterion and fits
