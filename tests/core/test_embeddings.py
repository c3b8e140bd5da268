"""Embeddings of waveforms and recordings: panns_inference's own class at several lengths, and the files of ``embed``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.audio import load_clip
from core.embeddings import embed
from core.errors import AudioError
from core.events import TimelineSettings
from core.tagging import load_tagger
from tests.core.onnx_models import write
from tests.core.test_parity import reference_network

RATE = 32_000
NARROW = (8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256)
ENGINES = ("torch", "winograd", "ncnn", "onnxruntime")


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    """panns_inference's CNN14, an eighth as wide."""
    return reference_network(NARROW)


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "narrow.pth"
    torch.save({"model": original.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """100 s of noise that rises and falls."""
    time = np.arange(100 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * noise * (1 + np.sin(time))).astype(np.float32)


@pytest.fixture(scope="module")
def theirs(original, sound):
    """The original's embedding of the sound's first so many samples."""

    def computed(samples: int) -> np.ndarray:
        with torch.inference_mode():
            return original(torch.from_numpy(sound[:samples])[None])["embedding"][0].numpy()

    return {samples: computed(samples) for samples in (9_920, RATE, 10 * RATE, 45 * RATE)}


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("runtime", ENGINES)
def test_every_engine_gives_the_originals_embedding(checkpoint, sound, theirs, runtime):
    """At 45 s, too, as a whole: the original knows no windows."""
    tagger = load_tagger(checkpoint=checkpoint, architecture="cnn14", runtime=runtime)
    for samples, wanted in theirs.items():
        found = tagger.embedding(sound[:samples])
        assert (found.shape, found.dtype) == ((2048,), np.float32)
        assert relative(found, wanted) < 1e-5, samples
        assert relative(theirs[9_920], wanted) > 0.01 or samples == 9_920  # otherwise equality says little
    pair = torch.from_numpy(sound[: 2 * RATE].reshape(2, RATE))
    probabilities, embeddings = tagger.engine.outputs(pair)
    assert torch.allclose(probabilities, tagger.engine.probabilities(pair), atol=1e-6)
    assert relative(embeddings.numpy(), tagger.embeddings(pair.numpy())) < 1e-5


def test_over_a_minute_the_windows_are_averaged(checkpoint, original, sound):
    tagger = load_tagger(checkpoint=checkpoint, architecture="cnn14", runtime="winograd")
    with torch.inference_mode():
        halves = original(torch.from_numpy(sound.reshape(2, -1)))["embedding"].numpy()  # 2 x 50 s
    assert relative(tagger.embedding(sound), halves.mean(axis=0)) < 1e-5
    assert tagger.embeddings([]).shape == (0, 2048)
    with pytest.raises(AudioError, match="floating-point"):
        tagger.embeddings(np.zeros((2, RATE), np.int16))


# Recordings


@pytest.fixture
def folder(studio, tmp_path) -> Path:
    """Three recordings, one of them below, a damaged one, and what is no recording."""
    made = tmp_path / "in"
    (made / "b").mkdir(parents=True)
    shutil.copy(studio / "long.wav", made / "b" / "long.WAV")
    shutil.copy(studio / "noise.flac", made / "noise.flac")
    shutil.copy(studio / "short.wav", made / "short.wav")
    (made / "a.wav").write_text("not a recording")
    (made / "notes.txt").touch()
    return made


@pytest.fixture
def words(studio, folder, tmp_path) -> list[str]:
    return ["embed", str(folder), "-m", str(studio / "small.safetensors"), "-o", str(tmp_path / "out")]


def test_each_file_once_and_failures_listed(cli, studio, folder, words, tmp_path):
    """The folder twice, and a file of it again."""
    run = cli(*words, folder, folder / "noise.flac", "-f", "npz", "-f", "parquet", "--json")
    assert run.code == 2
    assert run.err.count("\n") == 1
    said = [json.loads(line) for line in run.out.splitlines()]
    assert [Path(one["path"]).name for one in said] == ["a.wav", "noise.flac", "short.wav", "long.WAV"]
    assert said[0] == {"path": f"{folder}/a.wav", "error": run.err.removeprefix("pannscope: ").strip()}
    assert said[1]["results"] == [str(tmp_path / "out" / f"noise.flac.{form}") for form in ("npz", "parquet")]
    assert [one["embeddings"] for one in said[1:]] == [1, 1, 1]
    tagger = load_tagger(checkpoint=studio / "small.safetensors")
    for name in ("noise.flac", "short.wav", "b/long.WAV"):
        wanted = tagger.embedding(load_clip(folder / name).waveform)
        with np.load(tmp_path / "out" / f"{name}.npz") as stored:
            np.testing.assert_array_equal(stored["embedding"], wanted[None])
            assert stored["path"].tolist() == [f"{folder}/{name}"]
            described = json.loads(str(stored["description"]))
        table = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        np.testing.assert_array_equal(np.stack(table["embedding"]), wanted[None])
        assert table.columns.tolist() == ["path", "start_s", "end_s", "embedding"]
        assert described == {
            "model": "small",
            "sha256": tagger.info.sha256,
            "sample_rate": RATE,
            "settings": {"window_s": None, "hop_s": None},
        }


def test_an_interrupted_run_goes_on(cli, folder, words, tmp_path, monkeypatch):
    (folder / "a.wav").unlink()
    seen: list[str] = []

    def interrupted(tagger, clip, *others):
        seen.append(clip.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return embed(tagger, clip, *others)

    monkeypatch.setattr("core.embeddings.embed", interrupted)
    assert cli(*words).code == 130
    first = (tmp_path / "out" / "noise.flac.npz").read_bytes()
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["noise.flac.npz"]
    again = cli(*words, "--combined")
    assert (again.code, seen) == (0, ["noise.flac", "short.wav", "short.wav", "long.WAV"])
    assert "1 recording skipped, whose results are in" in again.err
    assert (tmp_path / "out" / "noise.flac.npz").read_bytes() == first
    with np.load(tmp_path / "out" / "all.npz") as combined:
        assert combined["path"].tolist() == [
            f"{folder}/{name}" for name in ("b/long.WAV", "noise.flac", "short.wav")
        ]
        assert combined["embedding"].shape == (3, 16)
        assert combined["end_s"].tolist() == [31.0, 0.5, 0.1]
    cli(*words, "--force")
    assert seen[4:] == ["noise.flac", "short.wav", "long.WAV"]
    assert "is of another network or other settings" in cli(*words, "--combined", "--window", 1).err


def test_windows_are_those_of_timeline(cli, studio, folder, words, tmp_path):
    printed = cli(*words[:1], folder / "b", *words[2:4], "--window", 8, "--overlap", 0.75, "--json")
    said = json.loads(printed.out)
    assert said["settings"] == {"window_s": 8.0, "hop_s": 2.0}
    assert list(zip(said["start_s"], said["end_s"], strict=True))[-2:] == [(22.0, 30.0), (23.0, 31.0)]
    tagger, clip = load_tagger(checkpoint=studio / "small.safetensors"), load_clip(folder / "b" / "long.WAV")
    parts = [clip.waveform[round(start * RATE) :][: 8 * RATE] for start in said["start_s"]]
    np.testing.assert_allclose(said["embedding"], tagger.embeddings(parts), rtol=1e-6)
    edges_s, embeddings = embed(
        tagger, load_clip(folder / "short.wav"), TimelineSettings(8)
    )  # shorter than a window
    assert (edges_s.tolist(), embeddings.shape) == ([[0.0, 0.1]], (1, 16))


MISTAKES = {
    "{in}": "Embeddings are written as files; give --output FOLDER, or --json alone to print them.",
    "{in} --json -f npz": "give --output FOLDER, or --json alone to print them.",
    "{in} -o out -f csv": "There is no format 'csv'; give one of npz, parquet.",
    "{in} -o out --overlap 0.1": "--overlap is between windows; give --window S as well.",
    "{in} -o out --window 0.2": "Windows of 0.2 s do not fit CNN14; give 0.31 to 30 s.",
    "{in} -o out -m {onnx}": "tagger.onnx has no output called embedding; give the checkpoint",
}  # fmt: skip


@pytest.mark.parametrize("given", MISTAKES)
def test_mistakes(cli, folder, words, monkeypatch, tmp_path, given):
    monkeypatch.chdir(tmp_path)
    onnx = write(tmp_path / "tagger.onnx", metadata={"sample_rate": "16000"}) if "onnx" in given else None
    network = [] if onnx else words[2:4]
    run = cli("embed", *given.format(**{"in": folder, "onnx": onnx}).split(), *network)
    assert MISTAKES[given] in run.err
    assert (run.code, (tmp_path / "out").exists()) == (2, False)
