"""ONNX files as taggers: against the same sums by hand, our own exports against their networks, and files made to attack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soxr

from core.api import profile
from core.audio import encode_wav, load_clip
from core.checkpoints.info import NUMBERED
from core.compare import compare
from core.errors import CheckpointError, ModelError
from core.examples import example_clip
from core.export import export
from core.onnx_tagger import process, worker
from core.onnx_tagger.graph import GraphError
from core.onnx_tagger.network import ASSUMED_LOGITS, ASSUMED_PROBABILITIES, OnnxNetwork, SampleRateError
from core.tagging import Tagger, load_tagger
from scripts.hostile_onnx import Kind, kinds
from tests.core.onnx_models import FILTERS, HOP, NAMES, TAPS, by_hand, weights, write

RATE = {"sample_rate": 16_000}
KINDS = {kind.name: kind for kind in kinds()}
ENDED = ("Loop of 2^62 steps", "ConstantOfShape of 2^30 values", "metadata of 8 MB")
"""Of those that only a process of its own survives, one for each of its limits, and one that this side refuses; scripts/hostile_onnx.py runs all."""
REFUSED = [
    kind
    for name, kind in KINDS.items()
    if name not in ENDED and not kind.slow and "memory" not in kind.expected
]


def network(tagger: Tagger) -> OnnxNetwork:
    assert isinstance(tagger.network, OnnxNetwork)
    return tagger.network


def goes_round(demo: Tagger, copy: Tagger) -> None:
    """The same tags from a network and its ONNX file, for a clip and for one that is too short."""
    assert (copy.classes, copy.info.notes, copy.entry.least_samples) == (demo.classes, (), 9_920)
    clip = example_clip("siren")
    assert np.abs(copy.tag(clip).probabilities - demo.tag(clip).probabilities).max() < 1e-4
    assert (
        np.abs(copy.probabilities(clip.waveform[:500]) - demo.probabilities(clip.waveform[:500])).max() < 1e-4
    )
    embedding = demo.embedding(clip.waveform)
    assert copy.info.embedding == len(embedding)
    assert np.abs(copy.embedding(clip.waveform) - embedding).max() < 1e-5 * np.abs(embedding).max()


def test_a_16_khz_model_and_a_fixed_window_beside_cnn14(tmp_path: Path) -> None:
    """Resampled, cut into windows and averaged by the rules of every network: 8 s in windows of 3 s at 48 kHz are 3, 3 and 2 s."""
    free = load_tagger(
        checkpoint=write(tmp_path / "free.onnx", metadata=RATE | {"labels": json.dumps(NAMES)})
    )
    fixed = load_tagger(
        checkpoint=write(tmp_path / "fixed.onnx", window=144_000, activated=True, output="scores"),
        classes=NAMES,
        sample_rate=48_000,
    )
    clip = example_clip("rain")
    tags = free.tag(clip)
    np.testing.assert_allclose(
        tags.probabilities, by_hand(soxr.resample(clip.waveform, 32_000, 16_000, "HQ")), atol=1e-6
    )
    assert tags.notes == ("The clip was resampled to 16 kHz, the rate of free.onnx.",)
    windows = [
        soxr.resample(clip.waveform[start : start + 96_000], 32_000, 48_000, "HQ")
        for start in (0, 96_000, 192_000)
    ]
    expected = np.mean([by_hand(np.pad(each, (0, 144_000 - len(each)))) for each in windows], axis=0)
    cut = fixed.tag(clip)
    np.testing.assert_allclose(cut.probabilities, expected, atol=1e-6)
    assert cut.windows_s == ((0.0, 3.0), (3.0, 6.0), (6.0, 8.0))
    assert "nothing above 16 kHz" in fixed.info.notes[0]
    demo = load_tagger("demo-cnn14", runtime="torch")
    for tagger in (free, fixed):
        compared = compare(clip, demo, tagger)
        assert compared.shared == ("Speech", "Rain")
        assert compared.document()["agreement"]["shared"] == ["Speech", "Rain"]
        assert compared.agreement.shared_classes == 2
    assert compare(clip, free, free).shared is None


def test_our_export_goes_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """demo-epanns's does so in test_export_onnx.py, where it is exported anyway."""
    monkeypatch.setattr("core.export.check.check_waveforms", lambda: (example_clip("rain").waveform[:9_920],))
    demo = load_tagger("demo-cnn14", runtime="torch")
    path = export(demo, "onnx", tmp_path / "copy.onnx").path
    props = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert (props["sample_rate"], props["output"], props["task"]) == ("32000", "probabilities", "tags")
    assert props["class_labels_indices.csv"].splitlines()[:2] == [
        "index,mid,display_name",
        '0,/m/09x0r,"Speech"',
    ]
    copy = load_tagger(checkpoint=path)
    goes_round(demo, copy)
    counts, counted = network(copy).counts(10.0), profile(demo)
    assert counts.macs is not None
    # The front end's three products beside convolutions and linear layers: the Fourier transform in two steps, and the mel bands.
    assert counts.macs - counted.macs_network == 1_001 * (34 * 32 * 32 + 17 * 64 * 64 + 513 * 64)


def test_an_embedding_of_frames_on_the_command_line(cli: Any, tmp_path: Path) -> None:
    """A file whose first output is frames of an embedding, against the convolution by hand; the tags are still its other output."""
    clip = tmp_path / "rain.wav"
    clip.write_bytes(encode_wav(example_clip("rain").waveform[:64_000]))
    path = write(tmp_path / "free.onnx", metadata=RATE, output="tags")
    model = onnx.load(str(path))
    model.graph.node.append(onnx.helper.make_node("Transpose", ["maps"], ["embeddings"], perm=[0, 2, 1]))
    frames = onnx.helper.make_tensor_value_info(
        "embeddings", onnx.TensorProto.FLOAT, ["batch", "frames", FILTERS]
    )
    model.graph.output.insert(0, frames)
    onnx.save(model, str(path))
    said = cli("embed", str(clip), "--checkpoint", str(path), "--logits", "--json").document
    waveform = soxr.resample(load_clip(clip).waveform, 32_000, 16_000, "HQ")
    steps = np.lib.stride_tricks.sliding_window_view(waveform, TAPS)[::HOP]
    expected = np.maximum(steps @ weights()["kernel"][:, 0].T, 0).mean(axis=0)
    np.testing.assert_allclose(said["embedding"], [expected], atol=1e-6)
    tagger = load_tagger(checkpoint=path, classes=NAMES)
    np.testing.assert_allclose(tagger.probabilities(load_clip(clip).waveform), by_hand(waveform), atol=1e-6)


def test_on_the_command_line(cli: Any, tmp_path: Path) -> None:
    clip, labels = tmp_path / "rain.wav", tmp_path / "labels.csv"
    clip.write_bytes(encode_wav(example_clip("rain").waveform))
    labels.write_text(
        "index,mid,display_name\n0,/m/09x0r,human speech\n1,,Rain\n2,,Drone\n"
    )  # a mid is a class, whatever its name
    free = str(write(tmp_path / "free.onnx", metadata=RATE | {"labels": json.dumps(NAMES)}))
    fixed = str(write(tmp_path / "fixed.onnx", window=144_000, activated=True, output="scores"))
    said = cli("tag", str(clip), "--checkpoint", free, "--json").document
    assert [tag["name"] for tag in said["tags"]] == ["Drone", "Rain", "Speech"]
    options = ("--sample-rate", "48000", "--labels", str(labels), "--json")
    compared = cli("compare", str(clip), "-a", "demo-cnn14", "-b", fixed, *options).document
    assert compared["agreement"]["shared"] == ["Speech", "Rain"]
    assert compared["candidate"]["windows_s"] == [[0.0, 3.0], [3.0, 6.0], [6.0, 8.0]]
    assert compared["candidate"]["runtime"] == "onnxruntime"
    counted = cli("profile", "-m", free, "--json").document
    assert (counted["params_total"], counted["macs"], counted["sample_rate"]) == (
        FILTERS * TAPS + FILTERS * 3 + 3,
        None,
        16_000,
    )
    out = str(tmp_path / "out.safetensors")
    for words in (("prune", "--ratio", "0.5", "--out", out), ("export", "-f", "safetensors", "--out", out)):
        run = cli(*words, "-m", fixed)  # without its rate: it is not even loaded
        assert run.code == 2
        assert run.err.startswith("pannscope: fixed.onnx is an ONNX file: it tags")
        assert run.err.count("\n") == 1
    assert cli("tag", str(clip), "-m", fixed).code == 2


def test_parameters_and_macs_by_hand(tmp_path: Path) -> None:
    free = load_tagger(checkpoint=write(tmp_path / "a.onnx", metadata=RATE))
    frames = (160_000 - TAPS) // HOP + 1
    counts = network(free).counts(10.0)
    assert counts.params == FILTERS * TAPS + FILTERS * 3 + 3
    assert counts.macs == frames * FILTERS * TAPS + FILTERS * 3
    fixed = load_tagger(checkpoint=write(tmp_path / "b.onnx", window=48_000, metadata=RATE))
    frames = (48_000 - TAPS) // HOP + 1
    assert network(fixed).counts(10.0).macs == 3 * (frames * FILTERS * TAPS + FILTERS * 3)  # windows of 3 s


def test_what_a_file_does_not_say(tmp_path: Path) -> None:
    path = write(tmp_path / "x.onnx", output="out")
    with pytest.raises(
        SampleRateError, match="does not say which sample rate it takes; state it: --sample-rate"
    ):
        load_tagger(checkpoint=path)
    guessed = load_tagger(checkpoint=path, sample_rate=16_000)
    assert guessed.info.notes == (ASSUMED_LOGITS, NUMBERED)
    assert guessed.classes.names[0] == "output 1"
    activated = write(tmp_path / "y.onnx", output="out", activated=True)
    assert load_tagger(checkpoint=activated, sample_rate=16_000).info.notes == (
        ASSUMED_PROBABILITIES,
        NUMBERED,
    )
    wrong = load_tagger(checkpoint=path, sample_rate=16_000, logits=False)
    with pytest.raises(
        CheckpointError, match=r"x.onnx outputs .* are no probabilities; say that they are logits"
    ):
        wrong.tag(example_clip("rain"))
    for options, said in (
        ({"sample_rate": 500}, "taggers of 8,000 to 96,000 Hz"),
        ({"sample_rate": 16_000, "classes": ["a", "b"]}, "has 3 outputs and 2 classes were given"),
        ({"sample_rate": 16_000, "runtime": "torch"}, "runs on onnxruntime alone, not on torch"),
        ({"sample_rate": 16_000, "architecture": "cnn14"}, "neither an architecture nor a ratio"),
    ):
        given: dict[str, Any] = options
        with pytest.raises(CheckpointError, match=said):
            load_tagger(checkpoint=path, **given)
    with pytest.raises(CheckpointError, match="takes 16000 Hz; leave the sample rate out"):
        load_tagger(checkpoint=write(tmp_path / "z.onnx", metadata=RATE), sample_rate=32_000)
    with pytest.raises(CheckpointError, match="stated of an ONNX file"):
        load_tagger("demo-cnn14", sample_rate=32_000)
    with pytest.raises(ModelError, match=r"^x.onnx is an ONNX file: .* cannot be pruned, repaired, trained"):
        _ = guessed.model


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_a_graph_that_is_refused(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kind.make(tmp_path)

    class Inside:
        """In place of the process: the same graph in this one."""

        gone = False

        def __init__(self, path: Path, threads: int) -> None:
            try:
                self._model = worker.Model(path.read_bytes(), 1)
            except GraphError as error:
                raise CheckpointError(f"{path} {error}.") from error
            self.facts = self._model.facts

        def run(self, samples: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
            try:
                output = self._model.run(samples)[0]
            except GraphError as error:
                raise CheckpointError(f"x.onnx {error}.") from error
            return process.finite(output, "x.onnx", len(samples)), np.zeros(0, np.float32)

    monkeypatch.setattr("core.onnx_tagger.network.OnnxProcess", Inside)
    with pytest.raises(CheckpointError) as caught:
        load_tagger(checkpoint=path)
    assert kind.expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ENDED)
def test_what_takes_too_much_is_stopped_and_the_next_file_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "RUN_S", 0.0)
    monkeypatch.setattr(process, "RUN_S_PER_SECOND", 0.0)
    kind = KINDS[name]
    with pytest.raises(CheckpointError) as caught:
        load_tagger(checkpoint=kind.make(tmp_path))
    assert kind.expected in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()


def test_a_process_that_has_broken_off_says_so_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = load_tagger(checkpoint=write(tmp_path / "x.onnx", metadata=RATE))
    whole = load_tagger(checkpoint=tmp_path / "x.onnx")
    network(tagger)._process._sandbox._process.kill()
    for _ in range(2):
        with pytest.raises(
            CheckpointError, match=r"x.onnx made onnxruntime break off \(signal 9\); it was stopped"
        ):
            tagger.probabilities(np.zeros(32_000))
    assert network(tagger).gone
    assert len(whole.probabilities(np.zeros(32_000))) == 3


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="limits are Linux's")
def test_a_process_opens_nothing_and_ends_with_its_tagger(tmp_path: Path) -> None:
    tagger = load_tagger(checkpoint=write(tmp_path / "x.onnx", metadata=RATE))
    pid = network(tagger)._process._sandbox.pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    for line in (
        "Max open files            0 ",
        "Max file size             0 ",
        "Max core file size        0 ",
    ):
        assert line in limits
    del tagger
    assert not Path(f"/proc/{pid}").exists()
