"""Samples written as WAV."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio import SAMPLE_RATE, encode_wav, load_clip
from core.errors import AudioError
from tests.core.recordings import tone


def test_encode_wav_is_plain_16_bit_pcm() -> None:
    waveform = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0], dtype=np.float32)
    data = encode_wav(waveform)
    assert data[:4] == b"RIFF"
    assert struct.unpack("<HHI", data[20:28]) == (1, 1, SAMPLE_RATE)
    stored = np.frombuffer(data[44:], dtype="<i2")
    np.testing.assert_allclose(stored / 32_768, [0, 0.5, -0.5, 1, -1, 1, -1], atol=1 / 32_768)


def test_encode_wav_and_load_clip_agree() -> None:
    waveform = tone(SAMPLE_RATE)[:, 0].astype(np.float32)
    clip = load_clip(encode_wav(waveform))
    np.testing.assert_allclose(clip.waveform, waveform, atol=2 / 32_768)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((2, 2)), np.array([np.nan])])
def test_encode_wav_refuses_what_is_no_waveform(waveform: NDArray[np.float64]) -> None:
    with pytest.raises(AudioError):
        encode_wav(waveform)
