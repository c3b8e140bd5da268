"""What has to be known of the published operator norm where it is chosen: its ranking depends on the order of the filters in the file."""

from __future__ import annotations

from core.pruning.order import OrderDependence
from dashboard import formats

CRITERION = "operator-norm"
ICON = ":material/swap_vert:"
COLUMNS = (6, 1)
"""Of the sentence, and of the way to the Order part of the Filters page."""

ALL_STAY = 0.9995
"""From this share on the order of a layer's filters does not matter, as printed: a filter of one kernel leaves no sign to choose."""


def text(layer: str, ratio: float, result: OrderDependence) -> str:
    """The finding in a sentence, for one layer of the network that is shown."""
    return (
        f"**operator-norm depends on the order of the filters:** with another filter of {layer} first, it keeps only "
        f"**{formats.percent(result.mean_stays)}** of the same filters at {formats.percent(ratio)} on average; chance is "
        f"{formats.percent(result.chance)}. Measured on these weights."
    )
