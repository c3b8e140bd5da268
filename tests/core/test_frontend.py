"""The front end against torchlibrosa (the reference implementation) and librosa."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.models.frontend import FRONT_END, FrontEnd, LogMel, log_mel, mel_centers, mel_matrix

ROOT = Path(__file__).resolve().parents[2]
RATE = FRONT_END.sample_rate


@pytest.fixture(scope="module")
def reference():
    """torchlibrosa's Conv1d front end with the settings of PANNs' CNN14."""
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrogram = Spectrogram(1024, 320, 1024, "hann", True, "reflect", freeze_parameters=True)
    logmel = LogmelFilterBank(
        32000, 1024, 64, 50, 14000, ref=1.0, amin=1e-10, top_db=None, freeze_parameters=True
    )

    def run(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return logmel(spectrogram(torch.from_numpy(waveform)[None]))[0, 0].numpy()

    return run


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    samples = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (level * samples).astype(np.float32)


@pytest.mark.parametrize("level", [0.3, 1e-3])
@pytest.mark.parametrize("seconds", [0.31, 1.0, 3.7])
def test_equals_the_reference_within_a_thousandth_of_a_decibel(reference, seconds, level):
    waveform = noise(seconds, level)
    ours, theirs = log_mel(waveform), reference(waveform)
    assert ours.shape == theirs.shape == (FRONT_END.frames(len(waveform)), 64)
    assert np.abs(ours - theirs).max() < 1e-3


def test_equals_the_reference_on_a_real_clip(reference, shared):
    from core.audio import load_clip

    waveform = load_clip(shared / "clips/audio/1-esc-110389-A-dog_bark.ogg").waveform
    assert np.abs(log_mel(waveform) - reference(waveform.copy())).max() < 1e-3


def test_silence_is_the_floor(reference):
    silence = np.zeros(RATE, np.float32)
    assert np.allclose(log_mel(silence), -100.0, atol=1e-4)
    assert np.array_equal(reference(silence), log_mel(silence))


def test_tone_equals_the_reference_down_to_rounding(reference):
    """70 dB under a tone's peak the reference shows its own float32 rounding; exact arithmetic arbitrates there."""
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(tone.astype(np.float64), 512, mode="reflect"), 1024
    )[::320]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    exact = 10 * np.log10(np.maximum(power @ mel_matrix().astype(np.float64), 1e-10))
    ours, theirs = log_mel(tone), reference(tone)
    depth = exact.max(axis=1, keepdims=True) - exact
    assert np.abs(ours - theirs)[depth < 70].max() < 1e-3
    # one float32 step of the peak (6e-8) is 5e-3 dB 80 dB further down; how much of it remains depends on the FFT's kernels
    assert np.abs(ours - exact)[depth < 80].max() < 2e-3


def test_the_stored_filterbank_is_librosas():
    """But for the last digit: numpy's exponential rounds differently on processors with AVX-512 and without."""
    import librosa

    expected = librosa.filters.mel(sr=32000, n_fft=1024, n_mels=64, fmin=50, fmax=14000).T
    assert mel_matrix().shape == (513, 64)
    assert mel_matrix().dtype == np.float32
    assert np.abs(mel_matrix() - expected).max() < 1e-8
    centers = librosa.mel_frequencies(66, fmin=50, fmax=14000)[1:-1]
    np.testing.assert_allclose(mel_centers(), centers, rtol=1e-12)


@pytest.mark.parametrize("array", [mel_matrix(), mel_centers()])
def test_the_stored_filterbank_cannot_be_changed_by_accident(array):
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_any_other_front_end_is_librosas():
    from librosa.filters import mel

    smaller = FrontEnd(sample_rate=16000, n_fft=512, hop=160, mel_bins=40, fmin=0.0, fmax=8000.0)
    expected = mel(sr=16000, n_fft=512, n_mels=40, fmin=0, fmax=8000).T
    assert np.array_equal(mel_matrix(smaller), expected)
    assert np.array_equal(LogMel(smaller).mel.numpy(), expected)


@pytest.mark.parametrize(
    "work",
    [
        "from core.cli import main; main(['tag', 'clip.wav', '--model', 'demo-epanns', '--json'])",
        "from streamlit.testing.v1 import AppTest; AppTest.from_file('app.py', default_timeout=120).run()",
    ],
)
def test_neither_a_command_nor_a_page_imports_librosa(work, tmp_path):
    """Importing it costs 130 MB and a second."""
    from core.audio import encode_wav

    (tmp_path / "clip.wav").write_bytes(encode_wav(noise(1.0)))
    work = work.replace("clip.wav", str(tmp_path / "clip.wav")).replace(
        "app.py", str(ROOT / "dashboard/app.py")
    )
    code = f"""if True:
        import sys
        try:
            {work}
        except SystemExit as end:
            assert not end.code, end.code
        assert "core.models.frontend" in sys.modules
        assert "librosa" not in sys.modules
    """
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_frozen_parameters_are_the_references():
    # 2 x 513 x 1024 + 513 x 64, by hand (facts/golden.json: 81,837,071 - 80,753,615)
    assert FRONT_END.frozen_parameters == 1_083_456


def test_nothing_of_the_front_end_is_saved():
    assert LogMel().state_dict() == {}


def test_survives_the_meta_device():
    with torch.device("meta"):
        front_end = LogMel()
    assert not front_end.mel.is_meta
    assert torch.equal(front_end(torch.zeros(1, RATE)), LogMel()(torch.zeros(1, RATE)))


def test_a_clip_shorter_than_a_window_can_be_drawn():
    assert log_mel(np.zeros(10, np.float32)).shape[1] == 64


@pytest.mark.parametrize("samples", [1024 * 320 - 1, 1024 * 320, 3 * 1024 * 320 + 7])
def test_spectra_made_in_pieces_are_those_of_the_whole(samples):
    """One frame more than are made at once, up to three times as many: pieces lose and repeat no frame."""
    noise = 0.1 * torch.randn((2, samples), generator=torch.Generator().manual_seed(0))
    front_end = LogMel()
    whole = front_end.decibels(front_end.power(noise))
    found = front_end(noise)
    assert found.shape == whole.shape == (2, 1, samples // 320 + 1, 64)
    assert (found - whole).abs().max() < 1e-4
