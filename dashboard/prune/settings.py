"""The settings of the Prune page; each is part of the page's address, so that a copied link restores them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import PruningError
from core.models.cnn import LAYERS
from core.models.widths import PAPER_LAYERS
from core.pruning.criteria import CRITERIA
from core.pruning.plan import PruningPlan
from core.pruning.ratios import parse_ratios
from dashboard import formats
from dashboard.widgets import query_params

DEFAULT_CRITERION = next(iter(CRITERIA))
RATIO = 50
HIGHEST = 90
ROUNDINGS = (1, 4, 8, 16, 32)
REPAIRS = {"off": "Off", "clip": "This clip", "examples": "Examples", "both": "Both"}
"""The clips that repair is calibrated on: name in the address -> name on the page."""

_PAPER = (PAPER_LAYERS[0], PAPER_LAYERS[-1])
_HIGHEST_PER_LAYER = 99
_PENDING, _SHOWN, _ADDRESS = "plan_to_show", "shown_plan", "ratios"


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
    layers: tuple[str, ...] = PAPER_LAYERS
    ratio: float | None = None
    round_to: int = 1
    plan: PruningPlan | None = None

    @property
    def touched(self) -> tuple[str, ...]:
        """The layers that are pruned, or would be at another position of the common slider."""
        return self.layers if self.ratio is not None else tuple(layer for layer, _ in self.ratios)

    @property
    def where(self) -> str:
        """The touched layers in short: 'C7 to C12', 'C9', 'C2, C7 and 3 more'."""
        return layers_text(self.touched)


def layers_text(layers: Sequence[str]) -> str:
    """Layers in short: a range as 'C7 to C12', others listed."""
    indices = [LAYERS.index(layer) for layer in layers]
    if not layers:
        return "no layer"
    if len(layers) == 1:
        return layers[0]
    if indices == list(range(indices[0], indices[-1] + 1)):
        return f"{layers[0]} to {layers[-1]}"
    if len(layers) <= 3:
        return f"{', '.join(layers[:-1])} and {layers[-1]}"
    return f"{layers[0]}, {layers[1]} and {len(layers) - 2} more"


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
    widths: Sequence[int],
    row: DeltaGenerator,
    main: DeltaGenerator,
    folded: DeltaGenerator,
) -> PruneSettings:
    """Draw the widgets in the given containers and read them. ``widths`` are the network's filters of C1..C12."""
    _show_pending()
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
    query_params.follow("layers", _read_layers, _PAPER)
    first, last = row.select_slider(
        "Layers",
        list(LAYERS),
        _PAPER,  # without a default it would not be a range
        key="layers",
        persist_state="session",
        help="The convolutions that are pruned. The paper prunes C7 to C12, which hold 92 % of CNN14's parameters.",
    )
    layers = LAYERS[LAYERS.index(first) : LAYERS.index(last) + 1]
    query_params.follow("own", {"true": True, "false": False}.get, default=False)
    own = folded.toggle(
        "Each layer its own ratio",
        key="own",
        persist_state="session",
        on_change=_start_from_common,
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
        + ("Every layer has its own ratio now, see below." if own else "E-PANNs has 50 %."),
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
        ratios = _own_ratios(widths, ratios, folded)
    query_params.keep("criterion", criterion, DEFAULT_CRITERION)
    query_params.keep("layers", f"{first}-{last}", "-".join(_PAPER))
    query_params.keep("own", "true" if own else "", "")
    query_params.keep("ratio", ratio, RATIO)
    query_params.keep("round_to", round_to, 1)
    query_params.keep(
        _ADDRESS,
        ",".join(f"{layer}={value:g}" for layer, value in ratios.items() if value > 0) if own else "",
        "",
    )
    ratios = {layer: value for layer, value in ratios.items() if value > 0}
    if not (plan and own and _still_matches(plan, widths, ratios, criterion, round_to)):
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
    query_params.follow("repair", query_params.named(REPAIRS), "off")
    repair = st.segmented_control(
        "Repair without labels, calibrated on",
        list(REPAIRS),
        format_func=titles.__getitem__,
        required=True,
        key="repair",
        persist_state="session",
        help="No training: batch-norm statistics are measured again, and the layer after each pruned layer is refitted by least "
        "squares to its outputs before pruning. Both run on a few calibration clips: the current clip or all of your recordings, "
        "the synthesised examples without the current one, or both. Agreement on a clip that repair was calibrated on is better "
        "than on other clips.",
    )
    query_params.keep("repair", repair or "off", "off")
    return repair or "off"


def _own_ratios(
    widths: Sequence[int], common: Mapping[str, float], folded: DeltaGenerator
) -> dict[str, float]:
    """A slider per layer. Together they are one query parameter, in the command line's notation of ratios."""
    query_params.follow(_ADDRESS, _read_ratios, None)
    linked = st.session_state.pop(_ADDRESS)
    for layer in LAYERS:
        if linked is not None or layer not in st.session_state:
            st.session_state[layer] = _slider_value((linked or common).get(layer, 0.0))
    ratios = {}
    with folded.grid(4, min_column_width=140, gap="small"):
        for layer, width in zip(LAYERS, widths, strict=True):
            ratios[layer] = (
                st.slider(
                    f"{layer} :small[:gray[{formats.whole(width)} filters]]",
                    0,
                    _HIGHEST_PER_LAYER,
                    format="%d %%",
                    key=layer,
                    persist_state="session",
                )
                / 100
            )
    return ratios


def _read_ratios(text: str) -> dict[str, float] | None:
    try:
        return parse_ratios(text, LAYERS)
    except PruningError:
        return None


def _read_layers(text: str) -> tuple[str, str] | None:
    """The first and the last layer of 'C7-C12', 'C7,C12' or 'C9'."""
    named = text.upper().replace("-", ",").split(",")
    known = [layer for layer in LAYERS if layer in named]
    return (known[0], known[-1]) if known and set(known) == set(named) else None


def _start_from_common() -> None:
    """Start every layer's slider at the common ratio when the toggle is switched on."""
    st.session_state.pop(_SHOWN, None)
    if not st.session_state["own"]:
        return
    first, last = (LAYERS.index(layer) for layer in st.session_state["layers"])
    for index, layer in enumerate(LAYERS):
        st.session_state[layer] = st.session_state["ratio"] if first <= index <= last else 0


def _show_pending() -> None:
    plan: PruningPlan | None = st.session_state.pop(_PENDING, None)
    if plan is None:
        return
    st.session_state[_SHOWN] = plan
    st.session_state["own"] = True
    st.session_state["criterion"] = plan.criterion
    if plan.round_to in ROUNDINGS:
        st.session_state["round_to"] = plan.round_to
    for layer in LAYERS:
        st.session_state[layer] = _slider_value(plan.ratios.get(layer, 0.0))


def _slider_value(ratio: float) -> int:
    return min(_HIGHEST_PER_LAYER, round(100 * ratio))


def _still_matches(
    plan: PruningPlan, widths: Sequence[int], ratios: Mapping[str, float], criterion: str, round_to: int
) -> bool:
    """Whether the widgets are still where the plan has set them, and the plan still fits the network."""
    same = all(
        round(100 * ratios.get(layer, 0.0)) == _slider_value(plan.ratios.get(layer, 0.0)) for layer in LAYERS
    )
    rounded = round_to == plan.round_to or plan.round_to not in ROUNDINGS
    return same and rounded and criterion == plan.criterion and plan.widths == tuple(widths)
