"""A pinned cut of the Prune page beside the present one: figures, verdict and sizes of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.compare import Comparison
from core.errors import PannscopeError
from core.pruning.criteria import CRITERIA
from core.pruning.ratios import parse_ratios
from dashboard import formats
from dashboard.prune import settings
from dashboard.prune.cut import Cut
from dashboard.prune.settings import PruneSettings
from dashboard.server.healing import HealSettings
from dashboard.server.server import get_server
from dashboard.widgets import own_checkpoint, query_params
from dashboard.widgets.slots import Slot

_KEY, _PLAN = "pinned", "pinned_plan"
_BETWEEN = "~"
_ROWS = 12
_TABLE_PX = 38 + 35 * _ROWS
_NAME_PX, _CUT_PX = 110, 122  # together as wide as a phone


@dataclass(frozen=True)
class Pin:
    """What the address keeps of a cut."""

    network: str
    criterion: str
    ratios: str
    round_to: int
    repair: str
    heal: str = ""

    @classmethod
    def of(cls, cut: Cut) -> Pin:
        """Of the present cut; of a plan, its ratios."""
        plan = cut.settings.plan
        ratios = plan.ratios if plan else dict(cut.settings.ratios)
        text = ",".join(f"{layer}={ratio:g}" for layer, ratio in ratios.items())
        heal = cut.heal.text if cut.heal and cut.healed else ""
        return cls(cut.name, cut.settings.criterion, text, cut.settings.round_to, cut.repair, heal)

    @classmethod
    def read(cls, text: str) -> Pin | None:
        """From the address; None for what is not a pinned cut of a network that can be loaded."""
        parts = text.split(_BETWEEN)
        if len(parts) not in (5, 6):
            return None
        network, criterion, ratios, round_to, repair, heal = (*parts, "")[:6]
        known = network in own_checkpoint.choices() and criterion in CRITERIA and repair in settings.REPAIRS
        if (
            (heal and HealSettings.read(heal) is None)
            or not known
            or round_to not in map(str, settings.ROUNDINGS)
        ):
            return None
        try:
            layers = get_server().structure(network).layers
            parse_ratios(ratios or f"{layers[0]}=0", layers)
        except PannscopeError:
            return None
        return cls(network, criterion, ratios, int(round_to), repair, heal)

    def __str__(self) -> str:
        parts = (self.network, self.criterion, self.ratios, str(self.round_to), self.repair)
        return _BETWEEN.join((*parts, self.heal) if self.heal else parts)

    def cut(self, now: Cut) -> Cut:
        """On the present clip and recordings. Raises ``CheckpointError``."""
        before = get_server().structure(self.network)
        ratios = parse_ratios(self.ratios, before.layers) if self.ratios else {}
        pinned, plan = st.session_state.get(_PLAN) or (None, None)
        plan = plan if pinned == self else None  # the address has its ratios alone
        chosen = PruneSettings(self.criterion, tuple(ratios.items()), round_to=self.round_to, plan=plan)
        heal = HealSettings.read(self.heal)
        return Cut(now.source, self.network, before, chosen, self.repair, now.recordings, heal, now.heal_jobs)


def frame(cut: Cut) -> tuple[Pin, Slot] | None:
    """The button that pins, and the place of the table where a cut is pinned."""
    query_params.follow(_KEY, Pin.read, None)
    pin: Pin | None = st.session_state[_KEY]
    query_params.keep(_KEY, pin or "", "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Pin this cut" if pin is None else "Pin this cut instead",
            key="pin_cut",
            icon=":material/keep:",
            on_click=_pin,
            args=(cut,),
            disabled=cut.empty,
            help="Keeps it beside the next ones: change the sliders, and compare both.",
        )
        if pin is not None:
            st.button("Remove", key="remove_pin", icon=":material/close:", type="tertiary", on_click=_unpin)
    return None if pin is None else (pin, Slot("pins", _TABLE_PX))


def side_by_side(cut: Cut, compared: Comparison, pin: Pin, slot: Slot) -> None:
    """Both cuts as the columns of a table."""
    place = slot.fill()
    try:
        pinned = pin.cut(cut)
        before = get_server().pruned_comparison(pinned)
    except PannscopeError as error:
        place.error(formats.escaped(str(error)), icon=":material/error:")
        return
    columns = [_column(pinned, before), _column(cut, compared)]
    place.dataframe(
        pd.DataFrame(
            {
                "": list(columns[0]),
                "A, pinned": list(columns[0].values()),
                "B, now": list(columns[1].values()),
            }
        ),
        hide_index=True,
        height=_TABLE_PX,
        column_config={
            "": st.column_config.TextColumn(pinned=True, width=_NAME_PX),
            "A, pinned": st.column_config.TextColumn(width=_CUT_PX),
            "B, now": st.column_config.TextColumn(width=_CUT_PX),
        },
        alt="The pinned cut and the present one, side by side: "
        + "; ".join(f"{name} {columns[0][name]} and {columns[1][name]}" for name in columns[0]),
    )


def _column(cut: Cut, compared: Comparison) -> dict[str, str]:
    (before, after), agreement, chosen = cut.counts, compared.agreement, cut.settings

    def changed(form: Callable[[float], str], old: float, new: float) -> str:
        return f"{form(new)} ({formats.change(old, new)})"

    def listed(names: tuple[str, ...]) -> str:
        return ", ".join(names) or formats.DASH

    ratios = {ratio for _, ratio in chosen.ratios}
    removed = "each its own" if len(ratios) > 1 else formats.percent(next(iter(ratios), 0.0))
    rounding = f", widths of {chosen.round_to}" if chosen.round_to > 1 else ""
    return {
        "Removed": f"{removed} of {cut.where}{rounding}",
        "Criterion": chosen.criterion,
        "Network": cut.title,
        "Repair": settings.REPAIRS[cut.repair],
        "Healed": formats.DASH if cut.healing is None else formats.minutes(cut.healing.seconds),
        "Parameters": changed(formats.count, before.params_trainable, after.params_trainable),
        "MACs for 10 s": changed(formats.count, before.macs, after.macs),
        "Size, float32": changed(formats.file_size, before.file_bytes, after.file_bytes),
        "Tags kept": listed(agreement.kept),
        "Tags lost": listed(agreement.lost),
        "Tags gained": listed(agreement.gained),
        "Largest change": f"{formats.probability(agreement.max_abs_difference)} ({agreement.max_difference_tag})",
    }


def _pin(cut: Cut) -> None:
    st.session_state[_KEY] = pin = Pin.of(cut)
    st.session_state[_PLAN] = (pin, cut.settings.plan)


def _unpin() -> None:
    st.session_state[_KEY] = st.session_state[_PLAN] = None
