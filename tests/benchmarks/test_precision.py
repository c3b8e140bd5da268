"""The quality of every engine on labelled clips: what `pannscope evaluate` gives, and no difference of torch from itself."""

from __future__ import annotations

from pathlib import Path

import soundfile

from benchmarks.precision import precision
from core.examples import synthesize
from core.tagging import load_tagger
from core.training.data import read_manifest
from core.training.evaluate import evaluate


def test_precision_is_what_evaluate_gives(tmp_path: Path) -> None:
    lines = ["filename,labels,fold"]
    for fold, key, label in ((1, "rain", "Rain"), (2, "siren", "Siren"), (2, "church-bell", "Church bell")):
        soundfile.write(tmp_path / f"{key}.wav", synthesize(key)[:48_000], 32_000)
        lines.append(f"{key}.wav,{label},{fold}")
    manifest = tmp_path / "clips.csv"
    manifest.write_text("\n".join(lines) + "\n")
    result = precision(manifest, tmp_path, ("2",), models=("demo-epanns",), runtimes=("ncnn", "torch"))
    first, second = result["rows"]
    assert (first["runtime"], second["runtime"]) == ("torch", "ncnn")
    tagger = load_tagger("demo-epanns", runtime="torch")
    scored = evaluate(tagger, read_manifest(manifest, tmp_path, tagger.classes).select(["2"]))
    assert (first["clips"], first["mAP"]) == (2, scored.mean_average_precision)
    assert (first["auc"], first["d_prime"]) == (scored.auc, scored.d_prime)
    assert first["max_abs_difference"] == 0
    assert 0 < second["max_abs_difference"] < 1e-4
