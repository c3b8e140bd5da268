"""Least squares, held against numpy's own solver with the ridge written out as rows of data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.pruning.repair.least_squares import LeastSquares


def samples(count, inputs=7, outputs=3, seed=0):
    """Inputs with means and scales of their own, wanted responses and what is missing of them."""
    rng = np.random.default_rng(seed)
    heard = rng.normal(size=(count, inputs)) * np.arange(1, inputs + 1) + 3.0
    wanted = heard @ rng.normal(size=(inputs, outputs)) + rng.normal(size=(count, outputs)) - 5.0
    return heard, wanted, wanted - heard @ rng.normal(size=(inputs, outputs))


def collected(heard, wanted, missing, blocks=4):
    system = LeastSquares(heard.shape[1], wanted.shape[1])
    for part in np.array_split(np.arange(len(heard)), blocks):
        system.add(*(torch.from_numpy(values[part]) for values in (heard, wanted, missing)))
    return system


@pytest.mark.parametrize("count", [5, 7, 8, 200], ids=lambda count: f"{count} samples of 7 inputs")
@pytest.mark.parametrize("ridge", [1e-9, 1e-2, 10.0])
def test_equals_numpys_least_squares_with_the_ridge_as_rows(count, ridge):
    heard, wanted, missing = samples(count)
    found = collected(heard, wanted, missing).solve(ridge)
    centred = heard - heard.mean(0)
    strength = ridge * np.square(centred).sum(0).mean()
    rows = np.concatenate([centred, np.sqrt(strength) * np.eye(7)])
    answers = np.concatenate([missing - missing.mean(0), np.zeros((7, 3))])
    weight = np.linalg.lstsq(rows, answers, rcond=None)[0].T
    assert np.abs(found.weight.numpy() - weight).max() < 1e-6
    left = missing - heard @ found.weight.numpy().T - found.offset.numpy()
    assert np.abs(left.mean(0)).max() < 1e-9  # the offset is that of the best fit
    assert found.left == pytest.approx(np.square(left).sum(), rel=1e-6, abs=1e-6)
    assert found.missed == pytest.approx(np.square(missing).sum())
    assert found.variance == pytest.approx(np.square(wanted - wanted.mean(0)).sum())


def test_a_strong_ridge_leaves_the_weights_and_corrects_the_mean():
    heard, wanted, missing = samples(50)
    found = collected(heard, wanted, missing).solve(1e9)
    assert found.weight.abs().max() < 1e-6
    assert np.allclose(found.offset.numpy(), missing.mean(0), atol=1e-5)


@pytest.mark.parametrize("count", [3, 40])
def test_inputs_that_never_change_give_an_offset_alone(count):
    heard = np.full((count, 7), 0.1)
    wanted = np.full((count, 3), 2.0)
    found = collected(heard, wanted, wanted).solve(1e-3)
    assert not found.weight.any()
    assert np.allclose(found.offset.numpy(), 2.0)
    assert found.left == pytest.approx(0.0, abs=1e-9)


def test_an_input_that_is_always_zero_is_harmless():
    heard, wanted, missing = samples(40)
    heard[:, 2] = 0.0
    found = collected(heard, wanted, missing).solve(1e-3)
    assert torch.isfinite(found.weight).all()
    assert not found.weight[:, 2].any()
