"""Recordings made for the tests: sines in every accepted format, and forged WAV headers."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

TONE_HZ = 1_000.0


def tone(
    sample_rate: int, duration_s: float = 2.0, amplitude: float = 0.5, channels: int = 1
) -> NDArray[np.float64]:
    """(frames, channels) sine; channel c has (c + 1) / channels of the amplitude: a known mean."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    levels = amplitude * np.arange(1, channels + 1) / channels
    return np.sin(2 * np.pi * TONE_HZ * time_s)[:, None] * levels


def written(samples: NDArray[Any], sample_rate: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=container, subtype=subtype)
    return file.getvalue()


def muxed(
    samples: NDArray[np.float64],
    sample_rate: int,
    container: str,
    codec: str,
    layout: str = "mono",
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode (frames, channels) with FFmpeg's libraries."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=sample_rate, layout=layout)
        to_codec = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=sample_rate)
        for start in range(0, len(samples), 960):
            packed = samples[start : start + 960].astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts = sample_rate, start
            for converted in to_codec.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return file.getvalue()


def header(tag: int = 1, channels: int = 1, rate: int = 44_100, bits: int = 16, more: bytes = b"") -> bytes:
    """A WAV file of 0.1 s with any format chunk."""
    block = channels * bits // 8 & 0xFFFF
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFF_FFFF, block, bits) + more
    samples = bytes(8_820)
    chunks = (
        b"WAVEfmt "
        + struct.pack("<I", len(body))
        + body
        + b"data"
        + struct.pack("<I", len(samples))
        + samples
    )
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


CODED: list[Callable[[], bytes]] = [
    lambda: written(tone(44_100), 44_100, "WAV"),
    lambda: written(tone(44_100), 44_100, "WAV", "FLOAT"),
    lambda: written(tone(44_100), 44_100, "RF64", "PCM_16"),
    lambda: written(tone(44_100), 44_100, "FLAC"),
    lambda: written(tone(44_100), 44_100, "OGG", "VORBIS"),
    lambda: written(tone(48_000), 48_000, "OGG", "OPUS"),
    lambda: written(tone(44_100), 44_100, "MP3"),
    lambda: muxed(tone(44_100), 44_100, "ipod", "aac"),
    lambda: muxed(tone(44_100), 44_100, "mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    lambda: muxed(tone(48_000), 48_000, "webm", "libopus"),
    lambda: muxed(tone(44_100), 44_100, "adts", "aac"),
]


def peak_rss_kb() -> int:
    """The most memory that this process has had; skips the test where the system does not say."""
    resource = pytest.importorskip("resource")  # not on Windows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
