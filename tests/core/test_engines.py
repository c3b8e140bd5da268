"""Every engine on the same sounds as torch, and the arithmetic of our own kernels against its definition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import torch
from llvmlite import binding as llvm

from core import load_tagger
from core.examples import EXAMPLES, synthesize
from core.models.cnn import LAYERS, Cnn14
from core.runtime.bf16 import Bf16Engine
from core.runtime.choice import engine_for
from core.runtime.engine import Engine, EngineError
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.profiles import PROFILES, Profile
from core.runtime.winograd.algorithms import DIRECT, F23, F43, PAIR
from core.runtime.winograd.engine import WinogradEngine
from core.runtime.winograd.native import AVX2, Native, native
from tests.core.networks import network

RATE = 32_000


@pytest.fixture(scope="module")
def medley() -> torch.Tensor:
    """(1, samples): every example one after the other, over 35 s."""
    sounds = np.concatenate([synthesize(example.key) for example in EXAMPLES])
    return torch.from_numpy(np.resize(sounds, 36 * RATE))[None]


@pytest.fixture(scope="module", params=["demo", "pruned", "odd"])
def model(request) -> Cnn14:
    if request.param == "demo":
        return load_tagger("demo-cnn14").model
    if request.param == "pruned":
        return load_tagger("demo-epanns").model
    return network((3, 5, 2, 7, 17, 6, 33, 9, 10, 41, 12, 13))


@pytest.fixture(scope="module")
def older_kernels() -> Native:
    """Those for a processor with AVX2 alone, which any newer one runs."""
    if not llvm.get_host_cpu_features().get("avx2"):
        pytest.skip("no AVX2 here")
    return Native(AVX2, "haswell", "")


@pytest.fixture(params=["winograd", "older", "ncnn"])
def make(request):
    """(model, profile, threads) -> an engine."""
    if request.param == "ncnn":
        return NcnnEngine
    kernels = request.getfixturevalue("older_kernels") if request.param == "older" else native()

    def made(model: Cnn14, profile: Profile, threads: int) -> Engine:
        return WinogradEngine(model, profile, threads, kernels)

    return made


@pytest.mark.parametrize("profile", PROFILES)
def test_every_length_equals_torch(make, model, medley, profile):
    """From the least there is, in every remainder that tiles, strips, pieces and poolings can leave of it."""
    engine = make(model, PROFILES[profile], 2)
    lengths = [9_920, round(1.7 * RATE), 10 * RATE, 33 * RATE]
    if min(model.config.widths) < 4:  # the odd one, which is quick
        lengths += [320 * (775 + extra) for extra in range(8)] + [320 * (32 + extra) for extra in range(33)]
    for samples in lengths:
        clip = medley[:, :samples]
        wanted = model.probabilities(clip)
        found = engine.probabilities(clip)
        assert found.shape == wanted.shape
        assert found.dtype == torch.float32
        assert float((found - wanted).abs().max()) < 1e-4, samples
    assert wanted.max() > 0.01  # otherwise equality says little


def test_batches_and_silence(make, model, medley):
    engine = make(model, PROFILES["fast"], 1)
    batch = medley[0, : 4 * 64_000].reshape(4, 64_000).clone()
    batch[2] = 0.0
    assert float((engine.probabilities(batch) - model.probabilities(batch)).abs().max()) < 1e-4
    assert engine.probabilities(batch[2:3]).isfinite().all()


def test_threads_share_an_engine(make, medley):
    model = load_tagger("demo-epanns").model
    engine = make(model, PROFILES["fast"], 2)
    clips = [medley[:, start * RATE : (start + 2 + start) * RATE] for start in range(6)]
    alone = [engine.probabilities(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.probabilities, clips * 4))
    for found, wanted in zip(together, alone * 4, strict=True):
        assert float((found - wanted).abs().max()) < 1e-6


@pytest.mark.parametrize("profile", PROFILES)
def test_maps_of_c12_before_any_sigmoid_hides_a_difference(model, medley, profile):
    """In units of their largest value, to a few roundings of float32 a layer."""
    engine = WinogradEngine(model, PROFILES[profile], 2)
    with torch.inference_mode():
        logmel = model.front_end(medley[:, : 10 * RATE])
        wanted = model.normalize(logmel)
        for layer in LAYERS:
            wanted = model.layer(layer, wanted)
    found = engine.maps(logmel[0, 0].numpy())
    assert found.shape == wanted[0].shape
    assert float((found - wanted[0]).abs().max() / wanted.max()) < 2e-5


def test_its_bytes_are_counted():
    """Weights of 4 bytes; filters in panels of 32 or 16, channels in chunks of 16 or 8, all of which these widths are multiples of."""
    model = network((32, 32, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64))
    tiled, late, deep = 5 * 32 * 32, 32 * 64 + 3 * 64 * 64, 2 * 64 * 64
    biases = 6 * 32 + 6 * 64
    fast = 9 * (32 + 4 * (tiled + late) + deep) + biases
    small = 9 * (32 + 4 * tiled + deep) + 12 * late + biases
    assert [WinogradEngine(model, PROFILES[name], 1).nbytes for name in ("fast", "small")] == [
        4 * fast,
        4 * small,
    ]


def test_bf16_is_close_and_another_arithmetic(medley):
    model = load_tagger("demo-cnn14").model
    try:
        engine = engine_for(model, "bf16")
    except EngineError as error:
        pytest.skip(str(error))
    batch = medley[0, : 10 * RATE].reshape(2, 5 * RATE)
    apart = float((engine.probabilities(batch) - model.probabilities(batch)).abs().max())
    assert isinstance(engine, Bf16Engine)
    assert 1e-6 < apart < 0.1
    assert engine_for(model).name != "bf16"


@pytest.mark.parametrize(
    ("algorithm", "products"),
    [(F43, 6), (F23, 4), (PAIR, 3), (DIRECT, 1)],
    ids=["F(4,3)", "F(2,3)", "pair", "direct"],
)
def test_an_algorithm_is_its_definition(algorithm, products):
    """In exact fractions: outputs are the correlation of samples with three taps; the pair's outer samples are padding."""
    exact = np.vectorize(lambda value: Fraction(value).limit_denominator(1000), otypes=[object])
    assert algorithm.points == products
    samples = exact(np.array([3, -5, 7, 11, -2, 13][: algorithm.outputs + 2]))
    taps = exact(np.array([2, -3, 5]))
    if algorithm is PAIR:
        samples[[0, -1]] = 0
    wanted = [sum(taps * samples[start : start + 3]) for start in range(algorithm.outputs)]
    if algorithm is DIRECT:  # three products, one a tap
        assert (algorithm.taps, algorithm.points_from_taps) == (3, None)
        return
    made = (
        exact(np.array(algorithm.points_from_taps))
        @ taps
        * (exact(np.array(algorithm.points_from)) @ samples)
    )
    assert list(exact(np.array(algorithm.outputs_from)) @ made) == wanted
