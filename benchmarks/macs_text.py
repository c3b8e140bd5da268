"""The section of the page that sets measured time beside counted MACs, and explains from the data where and why they differ."""

from __future__ import annotations

from benchmarks.macs import Comparison, LayerCost, comparisons, layered
from benchmarks.tables import Results, cell, markdown, picture, read_rates, rows_of

_APART = 0.10
"""Layers whose saved shares of MACs and time differ by more than this are mentioned."""

_BOUND = 0.5
"""A layer for which reading its weights alone would take this share of its time is called bound by memory."""


def macs_section(results: Results, pictures: dict[str, str]) -> str:
    """Tables of totals and of layers, the picture, and a paragraph an engine; empty without two networks."""
    compared = comparisons(rows_of(results, "engines"))
    if not compared:
        return ""
    rows = rows_of(results, "engines")
    models = list(dict.fromkeys(row["model"] for row in rows))
    read = read_rates(results).get(rows[0]["threads"])
    first = compared[0]
    totals = [
        (each.engine, cell(each.ms[0]), cell(each.ms[1]), _percent(each.time_cut), _percent(each.macs_cut))
        for each in compared
    ]
    says = (
        f"Counted, {models[1]} takes {_percent(first.macs_cut)} fewer MACs than {models[0]} as the paper counts "
        f"({_percent(first.network_macs_cut)} of the convolutions' and linear layers' own). Measured, waveform to probabilities:"
    )
    parts = [
        says,
        markdown(("engine", f"{models[0]}, ms", f"{models[1]}, ms", "less time", "fewer MACs"), totals),
        picture(
            "macs", pictures, "Time of every layer, whole and pruned, beside what MACs would give"
        ).strip(),
    ]
    in_layers = layered(compared)
    if in_layers:
        parts.append(_layers(in_layers))
    parts += [_why(each, read) for each in in_layers]
    return "\n\n".join(part.strip("\n") for part in parts if part)


def _layers(compared: list[Comparison]) -> str:
    columns = ["layer", "MACs, M", "pruned, M", "fewer", *(f"{each.engine}, ms" for each in compared)]
    lines = []
    for place, layer in enumerate(compared[0].layers):
        line = [layer.name, *(f"{macs / 1e6:.0f}" for macs in layer.macs), _percent(layer.macs_cut)]
        for each in compared:
            mine = each.layers[place]
            line.append(f"{cell(mine.ms[0])} → {cell(mine.ms[1])}, {_percent(-mine.time_cut)}")
        lines.append(line)
    return (
        "Layer by layer, whole and pruned, each timed alone, its batch norm and pooling with it:\n\n"
        + markdown(columns, lines)
    )


def _why(each: Comparison, read: float | None) -> str:
    """Where an engine's time does not follow MACs, from its own layers."""
    untouched = [layer.name for layer in each.layers if not layer.pruned]
    cut = [layer for layer in each.layers if layer.pruned]
    says = [
        f"**{each.engine}.** {_span(untouched)} are not pruned: they hold {_percent(each.share(False, False))} of the layers' MACs "
        f"and {_percent(each.share(False, True))} of their time, which sets a bound to what pruning the others can save."
        if untouched
        else f"**{each.engine}.**",
        f"Were every layer's time in step with its MACs, the layers together would take {_percent(each.layers_cut_by_macs)} less; "
        f"they take {_percent(each.layers_cut)} less.",
    ]
    behind = [layer for layer in cut if layer.time_cut < layer.macs_cut - _APART]
    ahead = [layer for layer in cut if layer.time_cut > layer.macs_cut + _APART]
    for layers, word in ((behind, "less"), (ahead, "more")):
        if layers:
            named = ", ".join(
                f"{layer.name} ({_percent(layer.macs_cut)} of the MACs, {_percent(layer.time_cut)} of the time)"
                for layer in layers
            )
            says.append(f"Pruning takes {word} of the time than of the MACs from {named}.")
    if cut and not behind and not ahead:
        says.append(f"Every pruned layer's time is within {100 * _APART:.0f} points of its MACs.")
    says.append(_rates(each.layers))
    if read:
        says.append(_reading(cut, read))
    return " ".join(text for text in says if text)


def _rates(layers: tuple[LayerCost, ...]) -> str:
    """How fast the layers compute: the spread is what makes a MAC of one cheaper than a MAC of another."""
    fastest = max(layers, key=lambda layer: layer.rate(0))
    slowest = min(layers, key=lambda layer: layer.rate(0))
    after = min(layers, key=lambda layer: layer.rate(1))
    return (
        f"A MAC does not cost the same everywhere: {fastest.name} does {fastest.rate(0):.0f} G of them a second, {slowest.name} "
        f"{slowest.rate(0):.0f} G; after pruning the slowest is {after.name} with {after.rate(1):.0f} G."
    )


def _reading(cut: list[LayerCost], read: float) -> str:
    """How much of the pruned layers' time reading their weights from memory would take, before pruning."""
    if not cut:
        return ""
    shares = {layer.name: layer.reading_ms(0, read) / layer.ms[0] for layer in cut}
    longest = max(cut, key=lambda layer: (round(shares[layer.name], 3), layer.weight_bytes))
    text = (
        f"Reading its weights once, at the {read:.0f} GB/s that memory gives here, would take {_percent(shares[longest.name])} of "
        f"{longest.name}'s time ({longest.weight_bytes[0] / 2**20:.0f} MiB, {cell(longest.reading_ms(0, read))} of "
        f"{cell(longest.ms[0])} ms), more than of any other pruned layer's."
    )
    cached = [name for name, share in shares.items() if share > 1]
    bound = [name for name, share in shares.items() if _BOUND <= share <= 1]
    if cached:
        text += f" {_span(cached)} {'takes' if len(cached) == 1 else 'take'} less time than that: their weights come from a cache."
    if bound:
        text += f" For {_span(bound)} that is half of the time or more: memory, rather than computing, bounds them."
    return text


def _span(names: list[str]) -> str:
    """C1, C2, C3 -> C1 to C3; others separated by commas."""
    numbers = [int(name[1:]) for name in names]
    if len(names) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{names[0]} to {names[-1]}"
    return ", ".join(names)


def _percent(share: float) -> str:
    return f"{round(100 * share)} %".replace("-", "−")
