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

RATIO = 50
HIGHEST = 90
ROUNDINGS = (1, 4, 8, 16, 32)
REPAIRS = {"off": "Off", "clip": "This clip", "examples": "Examples", "both": "Both"}
"""The clips that repair is calibrated on: name in the address -> name on the page."""

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
    repair : one of ``REPAIRS``.
    plan : the loaded or found plan that these settings come from, while none of them has been changed.
    """

    criterion: str
    ratios: tuple[tuple[str, float], ...]
    layers: tuple[str, ...] = PAPER_LAYERS
    ratio: float | None = None
    round_to: int = 1
    repair: str = "off"
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


def choose(
    widths: Sequence[int],
    row: DeltaGenerator,
    main: DeltaGenerator,
    beside: DeltaGenerator,
    folded: DeltaGenerator,
) -> PruneSettings:
    """Draw the widgets in the given containers and read them. ``widths`` are the network's filters of C1..C12."""
    _show_pending()
    plan: PruningPlan | None = st.session_state.get(_SHOWN)
    criterion = row.selectbox(
        "Criterion",
        list(CRITERIA),
        key="criterion",
        bind="query-params",
        persist_state="session",
        help="How filters are ranked; the lowest-ranked ones are removed.\n\n"
        + "\n".join(f"- **{entry.name}**: {entry.about}" for entry in CRITERIA.values()),
    )
    first, last = row.select_slider(
        "Layers",
        list(LAYERS),
        (PAPER_LAYERS[0], PAPER_LAYERS[-1]),
        key="layers",
        bind="query-params",
        persist_state="session",
        help="The convolutions that are pruned. The paper prunes C7 to C12, which hold 92 % of CNN14's parameters.",
    )
    layers = LAYERS[LAYERS.index(first) : LAYERS.index(last) + 1]
    own = folded.toggle(
        "Each layer its own ratio",
        key="own",
        bind="query-params",
        persist_state="session",
        on_change=_start_from_common,
        help="Starts from the common ratio. A loaded plan, or one found by a search, sets these sliders.",
    )
    ratio = main.slider(
        "Share of filters to remove",
        0,
        HIGHEST,
        RATIO,
        format="%d %%",
        key="ratio",
        bind="query-params",
        persist_state="session",
        disabled=own,
        help="Of each chosen layer. "
        + ("Every layer has its own ratio now, see below." if own else "E-PANNs has 50 %."),
    )
    query_params.follow("repair", REPAIRS)
    repair = beside.segmented_control(
        "Repair without labels, calibrated on",
        list(REPAIRS),
        format_func=REPAIRS.__getitem__,
        default="off",
        required=True,
        key="repair",
        bind="query-params",
        persist_state="session",
        help="No training: batch-norm statistics are measured again, and the layer after each pruned layer is refitted by least "
        "squares to its outputs before pruning. Both run on a few calibration clips: the current clip, the synthesized "
        "examples without it, or both. Agreement on a clip that repair was calibrated on is better than on other clips.",
    )
    round_to = folded.segmented_control(
        "Round widths to multiples of",
        ROUNDINGS,
        default=1,
        required=True,
        key="round_to",
        bind="query-params",
        persist_state="session",
        help="Multiples of 8 or 16 filters run faster on most processors. The nearest multiple is kept, so that slightly more "
        "or fewer filters are removed than the ratio says.",
    )
    ratios: dict[str, float] = dict.fromkeys(layers, ratio / 100)
    if own:
        ratios = _own_ratios(widths, ratios, folded)
    elif _ADDRESS in st.query_params:
        del st.query_params[_ADDRESS]
    ratios = {layer: value for layer, value in ratios.items() if value > 0}
    if not (plan and own and _still_matches(plan, widths, ratios, criterion, round_to)):
        plan = None
    return PruneSettings(
        criterion=criterion,
        ratios=tuple(ratios.items()),
        layers=tuple(layers),
        ratio=None if own else ratio / 100,
        round_to=int(round_to or 1),
        repair=repair or "off",
        plan=plan,
    )


def _own_ratios(
    widths: Sequence[int], common: Mapping[str, float], folded: DeltaGenerator
) -> dict[str, float]:
    """A slider per layer. Together they are one query parameter, in the command line's notation of ratios."""
    try:
        linked = parse_ratios(st.query_params.get(_ADDRESS, ""))
    except PruningError:
        linked = dict(common)
    ratios = {}
    with folded.grid(4, min_column_width=140, gap="small"):
        for layer, width in zip(LAYERS, widths, strict=True):
            if layer not in st.session_state:
                st.session_state[layer] = _slider_value(linked.get(layer, 0.0))
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
    text = ",".join(f"{layer}={ratio:g}" for layer, ratio in ratios.items() if ratio > 0)
    if st.query_params.get(_ADDRESS, "") != text:
        st.query_params[_ADDRESS] = text
    return ratios


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
