"""``profile``: what a network costs, counted from its shapes, and on request measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import JsonOption, LayersOption, TaggerOptions, grouped
from core.cli.output import print_json, print_table, say
from core.errors import ModelError
from core.units import prefixed

if TYPE_CHECKING:
    from core.onnx_tagger.network import OnnxNetwork
    from core.profiling import Measured, Profile
    from core.tagging import Tagger


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("profile")(grouped(profile_command))


def profile_command(
    *,
    network: TaggerOptions,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", metavar="SHARE", help="Count as if this share of the filters were gone."),
    ] = None,
    layers: LayersOption = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", help="Length of the clip that MACs are counted for."),
    ] = 10.0,
    measured: Annotated[
        bool, typer.Option("--measure", help="Time it here as well, and see by how much the process grows.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Count parameters, MACs, size and memory, layer by layer.

    A known model need not be installed.
    """
    from core.checkpoints import manifest
    from core.models.groups import prunable_layers
    from core.onnx_tagger.network import OnnxNetwork
    from core.profiling import measure, profile
    from core.pruning.ratios import parse_layers

    model, architecture = network.model, network.architecture
    if architecture is not None and model is None and network.checkpoint is None:
        of: dict[str, Any] = {"architecture": architecture}
    elif network.checkpoint is None and (model is None or model in manifest()):
        of = _known("cnn14" if model is None else model, architecture)
    else:
        tagger = network.load()
        if isinstance(tagger.network, OnnxNetwork):
            _print_onnx(tagger, tagger.network, seconds, measured=measured, json_output=json_output)
            return
        loaded = tagger.model
        of = {"architecture": loaded.architecture, "config": loaded.config}
    chosen = None if layers is None else parse_layers(layers, prunable_layers(of["architecture"]))
    counted = profile(**of, ratio=ratio, layers=chosen, seconds=seconds)
    taken = measure(counted.architecture, counted.config, seconds) if measured else None
    if json_output:
        print_json(counted.document() | ({"measured": taken.document()} if taken else {}))
        return
    _print_profile(counted)
    if taken:
        _print_measured(taken)


def _known(name: str, architecture: str | None) -> dict[str, Any]:
    """What ``profile`` is to count for a model of the manifest."""
    from core.checkpoints import entry

    known = entry(name)
    if architecture not in (None, known.architecture):
        raise ModelError(
            f"{name} is a {known.architecture}, not a {architecture}; leave the architecture out."
        )
    return {
        "architecture": known.architecture,
        "widths": known.widths,
        "classes": known.class_count,
        "embedding": known.embedding,
    }


def _print_onnx(
    tagger: Tagger, network: OnnxNetwork, seconds: float, *, measured: bool, json_output: bool
) -> None:
    """An ONNX file's counts, of which the layers are not known, and on request its time."""
    import numpy as np

    from core.audio import SAMPLE_RATE
    from core.profiling import measure_latencies

    counts, entry, size = network.counts(seconds), tagger.entry, tagger.info.size_bytes
    latency = None
    if measured:
        noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE))
        (latency,) = measure_latencies([tagger.probabilities], noise)
    if json_output:
        print_json(
            {
                "architecture": "onnx",
                "output": entry.output,
                "sample_rate": entry.sample_rate,
                "seconds": seconds,
                "params_total": counts.params,
                "params_trainable": None,
                "macs": None,
                "macs_network": counts.macs,
                "macs_note": counts.why or None,
                "size_bytes": size,
                "classes": len(tagger.classes),
                "layers": [],
            }
            | ({"measured": {"seconds": seconds, "latency": latency.document()}} if latency else {})
        )
        return
    say(f"{entry.title}, an ONNX file. Input: {entry.sample_rate:,} Hz. Output: {entry.output}.")
    say(f"Parameters: {counts.params:,} values of its weights; which were learned, the file does not say.")
    say(
        f"MACs for a clip of {seconds:g} s: "
        + (
            f"not counted; {counts.why}."
            if counts.macs is None
            else f"{prefixed(counts.macs)} in convolutions and matrix products, front end included."
        )
    )
    say(f"Size: {_size(size)}.")
    if latency:
        say(f"Measured here: median {latency.median_ms:.0f} ms for a clip of {seconds:g} s.")


def _print_profile(counted: Profile) -> None:
    from core.models.registry import architecture

    entry = architecture(counted.architecture)
    print_table(
        f"{entry.title}, one clip of {counted.seconds:g} s",
        ["layer", "in", "out", "parameters", "MACs", "memory"],
        [
            [
                row.name,
                f"{row.in_channels}",
                f"{row.out_channels}",
                f"{row.params:,}",
                prefixed(row.macs),
                _size(row.activation_bytes),
            ]
            for row in counted.layers
        ],
    )
    say(f"{entry.paper}. Input: {counted.sample_rate:,} Hz. Output: {counted.output}.")
    say(
        f"Parameters: {counted.params_trainable:,} learned, {counted.params_total:,} with the frozen front end."
    )
    say(
        f"MACs: {prefixed(counted.macs)} in the paper's convention (thop, the STFT as two convolutions), "
        f"{prefixed(counted.macs_network)} in convolutions and linear layers alone."
    )
    say(
        f"Size: {_size(counted.size_bytes)} in float32 as published, {_size(counted.size_bytes_float16)} in float16; "
        f"Pannscope's own file, without the front end, {_size(counted.file_bytes)} and {_size(counted.file_bytes_float16)}."
    )
    say(
        f"Memory of a pass: {_size(counted.peak_activation_bytes)} of feature maps at once, reached in {counted.peak_at}; "
        "the weights come on top."
    )
    if counted.paper and counted.counted and counted.paper["params_reduction_pct"]:
        say(
            f"The paper states {counted.paper['params_reduction_pct']:g}% fewer parameters, "
            f"{counted.paper['macs_reduction_pct']:g}% fewer MACs and an mAP of {counted.paper['mAP']:.3f}. "
            f"Counted in its way: {counted.counted['params_reduction_pct']:.1f}% and "
            f"{counted.counted['macs_reduction_pct']:.1f}%."
        )
    for each in counted.disagreements:
        say(each.says)


def _print_measured(taken: Measured) -> None:
    time = taken.latency
    say(
        f"Measured here, {taken.threads} thread{'s' if taken.threads > 1 else ''}, warm: median {time.median_ms:.0f} ms for a clip of "
        f"{taken.seconds:g} s; half of {time.repeats} passes took {time.lower_quartile_ms:.0f} to {time.upper_quartile_ms:.0f} ms, "
        f"all {time.low_ms:.0f} to {time.high_ms:.0f} ms."
    )
    if taken.memory_growth_bytes is not None:
        say(f"The process grew by {_size(taken.memory_growth_bytes)} in its first pass of that length.")


def _size(count: int) -> str:
    return prefixed(count, "B")
