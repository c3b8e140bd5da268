"""The quality of every engine on labelled clips: what `pannscope evaluate` gives, and no difference of torch from itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.precision import precision
from core import checkpoints
from core.errors import DataError
from core.examples import synthesize
from core.tagging import EMBEDDED_PAIR, load_tagger
from core.training.data import read_manifest
from core.training.evaluate import evaluate
from core.training.metrics import Quality


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings in each of two folds, and the embedded pair as the networks of fold 1 and fold 2."""
    lines = ["filename,labels,fold"]
    for fold, cut in ((1, slice(0, 48_000)), (2, slice(48_000, 96_000))):
        for key, label in (("rain", "Rain"), ("siren", "Siren"), ("church-bell", "Church bell")):
            soundfile.write(tmp_path / f"{key}-{fold}.wav", synthesize(key)[cut], 32_000)
            lines.append(f"{key}-{fold}.wav,{label},{fold}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    for fold, name in zip("12", EMBEDDED_PAIR, strict=True):
        weights = checkpoints.path_of(checkpoints.entry(name)).read_bytes()
        (tmp_path / f"{fold}.safetensors").write_bytes(weights)
    return tmp_path


def evaluated(folder: Path, network: str, folds: str) -> Quality:
    tagger = load_tagger(checkpoint=folder / network, runtime="torch")
    clips = read_manifest(folder / "clips.csv", folder, tagger.classes).select(list(folds))
    return evaluate(tagger, clips)


def test_precision_is_what_evaluate_gives(folder):
    """Of one network the scores on both folds; of a network a fold the mean of the two folds' scores."""
    manifest, one, each = (
        folder / "clips.csv",
        str(folder / "1.safetensors"),
        str(folder / "{fold}.safetensors"),
    )
    result = precision(manifest, folder, ("1", "2"), models=(one, each), runtimes=("ncnn", "torch"))
    first, _, second, _ = result["rows"]
    assert [row["runtime"] for row in result["rows"]] == ["torch", "ncnn"] * 2
    assert [row["held_out"] for row in (first, second)] == [False, True]
    both = evaluated(folder, "1.safetensors", "12")
    assert (first["clips"], first["mAP"], first["auc"]) == (6, both.mean_average_precision, both.auc)
    assert first["d_prime"] == pytest.approx(both.d_prime)
    alone = [evaluated(folder, f"{fold}.safetensors", fold).mean_average_precision for fold in "12"]
    assert (second["clips"], second["mAP"]) == (6, pytest.approx(np.mean(alone)))
    assert first["max_abs_difference"] == second["max_abs_difference"] == 0
    assert max(row["max_abs_difference"] for row in result["rows"]) < 1e-4
    with pytest.raises(DataError, match="folds"):
        precision(manifest, folder, (), models=(each,))
