"""The benchmark on small networks: what it says is arithmetic on what it measured, and every engine answers alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.benchmark import SUBJECTS, available
from core.benchmark.bench import clips
from core.benchmark.subjects import Files
from core.benchmark.weights import prepare
from core.checkpoints import load_checkpoint
from core.runtime import PROFILES, NcnnEngine

ROW = {
    "engine",
    "model",
    "seconds",
    "batch",
    "threads",
    "median_ms",
    "lower_quartile_ms",
    "upper_quartile_ms",
    "low_ms",
    "high_ms",
}
ROW |= {
    "repeats",
    "compared_with",
    "ratio_to_reference",
    "real_time_factor",
    "max_abs_difference",
    "peak_rss_mb",
    "load_s",
    "stages_ms",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    return prepare("demo-epanns", tmp_path_factory.mktemp("weights"))[0]


def test_rows_agree_with_themselves(cli):
    document = cli(
        *("bench", "--models", "demo-epanns", "--engines", "torch,ncnn-small", "--seconds", "0.5,1"),
        *("--batch", "2", "--threads", "1", "--repeats", "2", "--stages", "--json"),
    ).document
    rows = document["rows"]
    assert [(row["engine"], row["seconds"]) for row in rows] == [
        (engine, seconds) for seconds in (0.5, 1.0) for engine in ("torch", "ncnn-small")
    ]
    for first, row in zip(rows[::2] * 2, rows[::2] + rows[1::2], strict=True):
        assert set(row) == ROW
        assert (row["batch"], row["threads"], row["compared_with"]) == (2, 1, "torch")
        assert row["ratio_to_reference"] == pytest.approx(first["median_ms"] / row["median_ms"])
        assert row["real_time_factor"] == pytest.approx(2 * row["seconds"] / (row["median_ms"] / 1e3))
        assert row["max_abs_difference"] < 1e-4
        assert 100 < row["peak_rss_mb"] < 4000
    layers = [f"C{i}" for i in range(1, 13)]
    assert list(rows[0]["stages_ms"]) == ["front end", *layers, "rest"] == list(rows[1]["stages_ms"])
    assert rows[2]["stages_ms"] == {}  # the first length alone
    assert document["host"]["cores"] >= 1
    assert document["weights"] == {"demo-epanns": "Demo E-PANNs's own"}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_gives_the_network_s_answer(name, files):
    if not available(name):
        pytest.skip(f"{name} is not installed")
    heard = clips(1.7, 2)
    found = SUBJECTS[name].load(files, 1)(heard)
    wanted = load_checkpoint(files.safetensors).model.probabilities(torch.from_numpy(heard)).numpy()
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3
    assert np.abs(found - wanted).max() < (0.05 if "bf16" in name else 1e-4)


def test_layer_times_cover_a_pass(files):
    """Twelve layers and the rest, each with a time of its own, over several pieces of time."""
    engine = NcnnEngine(load_checkpoint(files.safetensors).model, PROFILES["small"], 1)
    times = engine.layer_times(np.full((1, 700, 64), -40.0, np.float32))
    assert list(times) == [*(f"C{i}" for i in range(1, 13)), "rest"]
    assert min(times.values()) > 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--engines", "tpu"), "Unknown engine 'tpu'"),
        (("--seconds", "0.1"), "0.31 to 600 s"),
        (("--seconds", "ten"), "--seconds takes numbers"),
        (("--models", "demo-cnn14:0.5"), "The shape of demo-cnn14:0.5 is not known"),
        (("--models", "cnn14:half"), "such as cnn14:0.25"),
        (("--repeats", "0"), "whole numbers from 1"),
    ],
)
def test_mistakes(cli, given, says):
    assert says in cli("bench", *given).complaint
